"""Inspect a running model: next-token distributions, traces and demonstrations, as plain data from the real modules."""
