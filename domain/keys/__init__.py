"""Values of the variables that agents need: each user's own, and those that the admin shares."""
