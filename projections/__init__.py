"""Read models: what the log adds up to. Delete any of them and it is rebuilt from the log."""
