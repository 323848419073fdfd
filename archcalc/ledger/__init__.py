"""Weights, matmuls, caches and saved activations of a spec, with named axes and without tensors.

Sizes are not always plain ints
-------------------------------
A sweep runs this code, `resolve` and a report's analyses once for many cells. A size (an integer field of a part or of
a workload) then has a value for each cell. The code follows the values of one cell, the representative. A cell for
which a comparison has a different outcome gets a separate run. Rules for sizes:

- Use `+`, `-`, `*`, `//`, `%`, `abs`. `/`, `**`, `round`, `divmod` and arithmetic with floats are not supported, and no
  size equals a float.
- Do not test the type: `isinstance(size, int)` is false. An integer has `__index__` (`spec.base.sizes`).
- Do not convert sizes to text, except in errors: the text shows the representative's value. Name rows by symbols
  (`d.window`), not by values.
- Do not hash sizes or cache by them (`functools.cache`, keys, sets): all have the same hash, so each lookup is a
  comparison, and a cached result belongs to other cells.
- Comparisons, truth tests, `min`, `max` and `sorted` are exact, but cost one more run for each outcome. Compare in
  `resolve`, which checks for contradictions. Here, test only whether an optional part exists (`if part.n_shared`); use
  `tokens.minimum` for the smaller of two numbers.
- `int(size)`, `range(size)` and indexing are exact too, but cost one run for each value. Only the depth of a stack does
  this.

`d.name` is a symbol (a polynomial), not a size. tests/analysis/sweep/test_sweep_rules.py checks these rules.
"""
