"""Equivalent mutants: (file, label) → why no test can notice the change."""

from __future__ import annotations

SORT_KEY = "(2 if symbol.startswith(('n_layers', 'n_mtp')) else not is_count, symbol)"
RANK = "2 if symbol.startswith(('n_layers', 'n_mtp')) else not is_count"
SAME_ORDER = "a sort key with a repeated entry gives the same order"
SAME_KEY = "a key with a repeated entry is as unique"
SAME_PREFIXES = "startswith tests the same prefix twice"

EQUIVALENT: dict[tuple[str, str], str] = {
    (
        "activation.py",
        "_relu_squared: yield Save(name, y, component) → nothing",
    ): "relu already saves the same tensor",
    (
        "forward_context.py",
        "checkpoint: 0 → 1",
    ): "a region without anything kept does not occur: every part has a linear map",
    (
        "forward_context.py",
        "checkpoint: i < last → i <= last",
    ): "at the last place is something kept, no product",
    ("algebra.py", "Poly.text: (-len(term[0]), term[0]) → (-len(term[0]), -len(term[0]), term[0])"): SAME_ORDER,
    ("algebra.py", "Poly.text: (-len(term[0]), term[0]) → (-len(term[0]), term[0], term[0])"): SAME_ORDER,
    ("algebra.py", f"_sort_key: {SORT_KEY} → ({RANK}, {RANK}, symbol)"): SAME_ORDER,
    ("algebra.py", f"_sort_key: {SORT_KEY} → ({RANK}, symbol, symbol)"): SAME_ORDER,
    ("algebra.py", f"_sort_key: {SORT_KEY} → ({RANK},)"): "a monomial is sorted by name, and sorting by rank is stable",
    ("algebra.py", "_sort_key: 2 → 3"): "any rank above 1 stands last",
    ("algebra.py", "_sort_key: ('n_', 'vocab') → ('n_', 'n_', 'vocab')"): SAME_PREFIXES,
    ("algebra.py", "_sort_key: ('n_', 'vocab') → ('n_', 'vocab', 'vocab')"): SAME_PREFIXES,
    ("algebra.py", "_sort_key: ('n_layers', 'n_mtp') → ('n_layers', 'n_layers', 'n_mtp')"): SAME_PREFIXES,
    ("algebra.py", "_sort_key: ('n_layers', 'n_mtp') → ('n_layers', 'n_mtp', 'n_mtp')"): SAME_PREFIXES,
    ("indexer.py", "_scores: d.d_rope → d.d_index"): "a rotation counts the rotated width, whatever the tensor's is",
    ("rope.py", "rotary: (ctx.span, part) → (ctx.span, ctx.span, part)"): SAME_KEY,
    ("rope.py", "rotary: (ctx.span, part) → (ctx.span, part, part)"): SAME_KEY,
    ("stack.py", "StackBuilder.owner: '.' → '.x'"): "no stack's name ends in x",
    ("stack.py", "StackBuilder.owner: 'layers' → 'layersx'"): (
        "the owner's name shows only where owners disagree, and this one alone states what it states"
    ),
}
