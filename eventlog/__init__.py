"""The event log: append-only, hash-chained, one writer, many readers. It does not know what events mean."""
