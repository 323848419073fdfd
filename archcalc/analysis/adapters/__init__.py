"""Adapters beside frozen weights, as the library peft attaches them to the class that transformers has of a model.

`class_modules` lists the modules of the class, `config` reads what is adapted, `matching` chooses modules by their
names, `methods` has the tensors of each method, `attach` joins them. `canonical` is the count by our own names.
"""
