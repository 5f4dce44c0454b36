"""Values of variables: one's own, and those that the admin shares."""
