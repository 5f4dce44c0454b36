"""What agents may ask of the router, from inside their runners."""
