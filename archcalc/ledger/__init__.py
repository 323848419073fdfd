"""Every weight with its axes named: the reading of a spec that needs no tensors.

Sizes are not always plain ints
-------------------------------
A sweep runs this code, `resolve` and a report's analyses once for many cells. A size (an integer field of a part or of
a workload) is then a number with a value in every cell, and code follows one of them, the representative. The other
cells keep to its path as long as every comparison comes out alike; where one does not, they take a run of their own.
Hence, for sizes:

- Use `+`, `-`, `*`, `//`, `%`, `abs`. There is no `/`, `**`, `round` or `divmod`, and no arithmetic with floats; what
  equals a float is nothing.
- Do not ask for their type: `isinstance(size, int)` is false. An integer is what has `__index__` (`spec.base.sizes`).
- Do not make text of them, but in an error: as text, a size is the representative's. Rows are named by symbols
  (`d.window`), never by values.
- Do not hash them or cache by them (`functools.cache`, keys, sets): all have the same hash, so each lookup is a
  comparison, and a cached answer belongs to other cells.
- A comparison, a truth test, `min`, `max` and `sorted` are exact, and cost one more run for each outcome. Compare in
  `resolve`, which refuses what contradicts itself. Here, test only whether an optional part is there
  (`if part.n_shared`); the smaller of two numbers is `tokens.least`.
- `int(size)`, `range(size)` and an index are exact too, and cost a run for each value. Only a stack's depth pays that.

`d.name` is a symbol, not a size: it is a polynomial. tests/analysis/sweep/test_sweep_rules.py holds all this.
"""
