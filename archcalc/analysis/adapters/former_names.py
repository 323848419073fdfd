"""Names of experts' matrices as transformers 4 had them, which peft translates to the stacked ones."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from archcalc.analysis.adapters.class_modules import ClassModules
from archcalc.analysis.adapters.config import ALL_LINEAR, AdapterConfig
from archcalc.analysis.adapters.matching import module_test
from archcalc.errors import InputError
from archcalc.hf.adapter_modules import renamed
from archcalc.words import msg


def translated(config: AdapterConfig, modules: ClassModules) -> AdapterConfig:
    """Return the settings with former names replaced, for a model type whose experts are stacked and were Linears.

    A stacked tensor that joins several matrices needs all their names, and gets the sum of their ranks. 'all-linear'
    is the last parts of all names, and the experts and the router: so a dense layer's matrix that is called as an
    expert's is not adapted. Raises InputError for a part of a joined tensor.
    """
    new_names, joined = renamed(modules.model_type)
    if config.method not in ("lora", "dora") or not new_names:
        return config
    targets = _targets(config, modules, new_names)
    if targets is None:
        return config
    found = {target: _former(target, new_names) for target in targets}
    parameters = dict.fromkeys((*config.parameters, *(new_names[old] for old in found.values() if old)))
    ranks = list(config.ranks)
    for new, parts in joined.items():
        present = [part for part in parts if part in found.values()]
        if present and len(present) < len(parts):
            missing = [part for part in parts if part not in present]
            raise InputError(
                msg(
                    "{present} alone: this class joins it with {missing} in {new}",
                    present=", ".join(present),
                    missing=", ".join(missing),
                    new=new,
                ),
                where="targets",
                allowed=", ".join(parts),
            )
        if present:
            ranks.append((rf".*\.{new}", config.rank * len(parts)))
    rest = tuple(target for target, old in found.items() if not old)
    return structs.replace(config, targets=rest, parameters=tuple(parameters), ranks=tuple(ranks))


def _former(target: str, new_names: Mapping[str, str]) -> str | None:
    return next((old for old in new_names if target == old or target.endswith(f".{old}")), None)


def _targets(config: AdapterConfig, modules: ClassModules, new_names: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the targets as names: those of 'all-linear', and of what a pattern matches; None if it matches nothing."""
    if not isinstance(config.targets, str):
        return config.targets or ()
    if config.targets == ALL_LINEAR:
        leaves = (name.rpartition(".")[2] for name in modules.linears)
        return tuple(dict.fromkeys((*leaves, *new_names)))
    matches = module_test(config)
    parameters = [tensor.name for tensor in modules.tensors]
    found = dict.fromkeys(name.rpartition(".")[2] for name in (*modules.names, *parameters) if matches(name))
    for old, new in new_names.items():
        if any(matches(f"{name.removesuffix(new)}{old}") for name in parameters if name.endswith(f".{new}")):
            found[old] = None
    return tuple(found) or None


def is_former(target: str, modules: ClassModules) -> bool:
    """Return whether a target is a former name that is translated."""
    return _former(target, renamed(modules.model_type)[0]) is not None
