"""Text to token ids and back, and the templates that make a text of a conversation."""
