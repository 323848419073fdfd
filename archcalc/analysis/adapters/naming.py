"""Whose names the targets have: those of the library's class, or our own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import structs

from archcalc.analysis.adapters.attach import Attached, attach, unmatched
from archcalc.analysis.adapters.canonical import adapters, is_known
from archcalc.analysis.adapters.class_modules import ClassModules, class_modules
from archcalc.analysis.adapters.config import ALL_LINEAR, AdapterConfig, Naming
from archcalc.analysis.adapters.former_names import is_former
from archcalc.analysis.adapters.matching import ends_in, whole
from archcalc.analysis.adapters.methods import METHODS, TITLES
from archcalc.analysis.adapters.prompts import prompt_rows
from archcalc.analysis.row_names import path_pattern
from archcalc.analysis.weight_roles import role_of
from archcalc.errors import InputError
from archcalc.hf import classes, to_config
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec
from archcalc.words import msg


class Named(msgspec.Struct, frozen=True):
    """What is trained, by whose names, and the class that has them; empty for our names."""

    attached: Attached
    naming: Naming
    class_name: str = ""


def named(
    spec: Spec,
    ledger: Ledger,
    config: AdapterConfig,
    *,
    naming: Naming | None,
    stated: Mapping[str, Any] | None = None,
    is_strict: bool = True,
) -> Named:
    """Return what is trained.

    Without a `naming`, names are the library's; they are ours if no class of transformers has the architecture, or if
    only we have modules of these names. `stated` is the config of the source, if it has one. `is_strict`: every name
    must be found; the library ignores others. Raises InputError for names that neither has.
    """
    if naming == "archcalc":
        return _canonical(ledger, config)
    if config.method not in METHODS:
        return _prompts(spec, config, _class_config(spec, stated), is_strict=is_strict)
    try:
        model = _class_config(spec, stated)
    except InputError:
        if naming == "library" or config.method != "lora":
            raise
        return _canonical(ledger, config)
    modules = class_modules(spec, ledger, model)
    if naming is None and config.method == "lora" and _is_ours(config, modules, ledger):
        return _canonical(ledger, config)
    settings = _strict(config, modules) if is_strict else config
    attached = attach(settings, modules, ledger.sizes)
    if not is_strict:
        attached = structs.replace(attached, not_found=(*_missing(config, modules), *attached.not_found))
    return Named(attached, "library", modules.class_name)


def _prompts(spec: Spec, config: AdapterConfig, model: Mapping[str, Any], *, is_strict: bool) -> Named:
    """Return virtual tokens; without a file that says otherwise, those of an encoder-decoder are for both stacks."""
    if is_strict and spec.family == "encoder-decoder":
        config = structs.replace(config, task="SEQ_2_SEQ_LM")
    name = str((model.get("architectures") or [""])[0])
    return Named(Attached(prompt_rows(config, spec, model)), "library", name)


def _missing(config: AdapterConfig, modules: ClassModules) -> Iterator[str]:
    """Yield the targets that the class does not have, which the library ignores if it has others."""
    for target in config.targets if isinstance(config.targets, tuple) else ():
        if not is_former(target, modules) and not _is_end(target, modules.names):
            yield target


def _is_ours(config: AdapterConfig, modules: ClassModules, ledger: Ledger) -> bool:
    """Return whether some of the targets are modules of ours, and none is one of the class."""
    targets = config.targets
    if targets is None or targets == ALL_LINEAR or ALL_LINEAR in targets:
        return isinstance(targets, tuple) and len(targets) > 1
    tensors = [tensor.name for tensor in modules.tensors]
    if isinstance(targets, str):
        matches = whole(targets, "targets")
        return is_known(ledger, targets) and not any(map(matches, (*modules.names, *tensors)))
    is_theirs = any(is_former(name, modules) or _is_end(name, (*modules.names, *tensors)) for name in targets)
    return not is_theirs and any(is_known(ledger, [name]) for name in targets)


def _is_end(target: str, names: Iterable[str]) -> bool:
    return any(ends_in(name, (target,)) for name in names)


def _canonical(ledger: Ledger, config: AdapterConfig) -> Named:
    """Return the adapters by our names, which only LoRA has, with none of the other settings."""
    plain = AdapterConfig(rank=config.rank, targets=config.targets, without_effect=config.without_effect)
    if config != plain:
        method = TITLES[config.method]
        raise InputError(
            msg("our own names are for LoRA of one rank, and {method} needs the library's", method=method),
            where="names",
            allowed="library",
        )
    rows = adapters(ledger, config.rank, config.targets or ALL_LINEAR)
    experts = [path_pattern(row.path).removesuffix(".weight") for row in ledger.rows if role_of(row) == "experts"]
    left_out = dict.fromkeys(experts) if config.targets == ALL_LINEAR else ()
    return Named(Attached(tuple(rows), left_out=tuple(left_out)), "archcalc")


def _strict(config: AdapterConfig, modules: ClassModules) -> AdapterConfig:
    """Return the settings with targets that are parameters named as such. Raises InputError for an unknown target."""
    if isinstance(config.targets, str) or config.targets is None:
        return config
    tensors = [tensor.name for tensor in modules.tensors]
    kept, parameters = [], []
    for target in config.targets:
        if is_former(target, modules) or _is_end(target, modules.names):
            kept.append(target)
        elif _is_end(target, tensors):
            parameters.append(target)
        else:
            raise unmatched(structs.replace(config, targets=(target,)), modules)
    return structs.replace(config, targets=tuple(kept), parameters=(*config.parameters, *parameters))


def _class_config(spec: Spec, stated: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the config of the class: the stated one, else one with this architecture. Raises InputError for none."""
    return classes.resolve(dict(stated))[0] if stated else to_config(spec)
