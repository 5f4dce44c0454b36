"""Commands: load, decide, append. Besides runners and turns, nothing else appends events."""
