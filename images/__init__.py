"""What runs inside runners: image definitions, and the built-in demo agent."""
