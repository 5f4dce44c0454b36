"""Runner supervisors: one task per agent that owns its container, its start, its idle timer and its end."""
