"""The admin's look into the log: events, streams, read models, chain and disk. It changes nothing in the log."""
