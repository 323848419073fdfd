"""The script that is served."""
