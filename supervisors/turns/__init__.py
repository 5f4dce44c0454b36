"""Turns: answers that belong to the server. A client may come and go; the turn goes on."""
