"""Backups of an installation: making, checking and restoring them, and making them on a schedule."""
