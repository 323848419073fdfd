"""Trace a forward pass step by step: the formula, the inputs and the value of each step."""
