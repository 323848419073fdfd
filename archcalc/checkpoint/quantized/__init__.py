"""Dequantize the matrices that safetensors files store in several tensors (`formats/packings.py`).

`group.py` finds the parts of each matrix by their names, `decoders.py` has a record for each packing that says how the
parts make its values, `reader.py` computes some rows of them at a time.
"""
