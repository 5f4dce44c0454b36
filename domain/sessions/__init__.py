"""Sign-ins: a session is opened, and ends when it is revoked or expires."""
