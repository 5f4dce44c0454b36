"""`python -m agentstack`."""

from agentstack.cli import main

main()
