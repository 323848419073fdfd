"""The dashboard: thin pages over what the command line calls."""
