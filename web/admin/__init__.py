"""What only the admin, or the command line on the server's machine, may do."""
