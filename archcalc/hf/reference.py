"""The transformers model of a config, on the meta device: names and shapes without memory."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from archcalc.errors import RefusedError
from archcalc.extras import require
from archcalc.hf import family_of
from archcalc.hf.classes import DECISION, DECISION_CLASS, resolve
from archcalc.hf.tensors import Shape
from archcalc.words import msg


def build_reference(config: dict[str, Any]) -> Any:
    """Return transformers' model of a config, with all parameters on the meta device.

    Raises InputError if archcalc cannot read the config or transformers refuses it, MissingExtraError if transformers
    is not installed. Only code of the installed package is run.
    """
    config, _ = resolve(config)
    family = family_of(config.get("model_type")).form(config)
    require("transformers", does=msg("building the reference model"), extra="oracle")
    import torch
    import transformers

    named = config.get("architectures") or ()
    # Only classes of the family: a config must not choose which attribute of transformers is used.
    known = {*family.classes, *family.other_classes}
    rest = {name: value for name, value in copy.deepcopy(config).items() if name != "model_type"}
    with quiet():
        candidates = [name for name in (*named, *family.classes) if name in known and hasattr(transformers, name)]
        try:
            hf_config = transformers.AutoConfig.for_model(family.model_type, **rest)
            if candidates[0] == DECISION_CLASS:
                hf_config = _decision_config(hf_config, rest)
            with torch.device("meta"):
                model = getattr(transformers, candidates[0])(hf_config)
        except Exception as error:
            raise RefusedError(msg("transformers refuses it: {line}", line=error_line(error)), where="config") from None
    if config.get("tie_word_embeddings") is False and getattr(hf_config, "tie_word_embeddings", False):
        # T5's class always ties the head, but checkpoints of files that say no have a head of their own.
        head = model.get_output_embeddings()
        if head is not None:
            head.weight = torch.nn.Parameter(torch.empty_like(head.weight))
    return model


def _decision_config(text: Any, keys: dict[str, Any]) -> Any:
    """Return the config of a decision head on a text model."""
    import transformers

    head = {key: keys[key] for key in ("num_verbalizers", "softcap") if key in keys}
    config: Any = transformers.AutoConfig.for_model(
        DECISION, text_config=text.to_dict(), hidden_size=text.hidden_size, **head
    )
    return config


def reference_shapes(model: Any) -> tuple[dict[str, Shape], dict[str, str]]:
    """Return the shape of each parameter by its first name, and the first name of each tied one."""
    shapes: dict[str, Shape] = {}
    firsts: dict[int, str] = {}
    ties: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = firsts.setdefault(id(parameter), name)
        if first == name:
            shapes[name] = tuple(parameter.shape)
        else:
            ties[name] = first
    return shapes, ties


def error_line(error: Exception) -> str:
    """Return an error's text on one line."""
    return " ".join(str(error).split())[:300]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of transformers and of what it imports, which are about running a model."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        import transformers

        bars: Any = transformers.utils.logging
        had_bars = bars.is_progress_bar_enabled()
        bars.disable_progress_bar()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            if had_bars:
                bars.enable_progress_bar()
    finally:
        logging.disable(before)
