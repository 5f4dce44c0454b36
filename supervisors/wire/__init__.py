"""Bytes of others on their way through: decoded and parsed within bounds of memory and of time on the loop."""
