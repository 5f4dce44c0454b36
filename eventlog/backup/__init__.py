"""Backups: one file with the log, the vault and the folders beside them, taken while the log is in use."""
