"""Trace a forward pass step by step: the expression, the inputs and the value of each step."""
