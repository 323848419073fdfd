"""The names of tensors in files, as the class of the model has them."""

from __future__ import annotations

from collections.abc import Iterable

from archcalc.errors import InputError, shown
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import TensorMap
from archcalc.words import msg


def class_names(stored: Iterable[str], tensors: TensorMap, spelling: Spelling) -> dict[str, str]:
    """Return the stored name of each tensor by the name that the map has.

    Raises InputError for two spellings of the same tensor.
    """
    found: dict[str, str] = {}
    rooted = tensors.class_names(stored)  # before and after: a rename may expect the prefix, or bring it
    names = {name: spelling.name(root) for name, root in rooted.items()}
    in_map = tensors.class_names(names.values())
    for stored_name, name in names.items():
        if in_map[name] in found:
            raise InputError(
                msg("is {name} in another spelling", name=shown(found[in_map[name]], 200)),
                where=shown(stored_name, 200),
            )
        found[in_map[name]] = stored_name
    return found
