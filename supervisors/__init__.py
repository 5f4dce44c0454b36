"""Everything that runs on its own: runner supervisors, engines, turns; and the commands that append events."""
