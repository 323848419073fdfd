"""Decode: choose the next tokens after prompts, and time it."""
