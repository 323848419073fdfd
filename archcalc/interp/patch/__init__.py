"""Activation patching: restore values of a clean forward pass in a corrupted one."""
