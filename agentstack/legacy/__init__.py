"""Bringing in the data of the earlier agent-stack, which kept it in one SQLite file."""
