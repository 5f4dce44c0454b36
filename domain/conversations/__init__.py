"""Conversations: messages, and the turns that answer them."""
