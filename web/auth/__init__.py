"""Who is calling, and signing in and out."""
