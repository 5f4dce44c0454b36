"""What agent-stack is about: events, states, decisions and policies. Pure: no I/O, no clock, no framework."""
