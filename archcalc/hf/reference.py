"""The transformers model of a config, on the meta device: names and shapes, and nothing allocated."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR
from typing import Any

from archcalc.errors import RefusedError
from archcalc.extras import require
from archcalc.hf import family_of
from archcalc.hf.classes import resolved
from archcalc.hf.tensors import Shape
from archcalc.words import msg


def build_reference(config: dict[str, Any]) -> Any:
    """transformers' own model of a config, every parameter on the meta device.

    Raises InputError for what this package cannot read or transformers refuses, MissingExtraError where transformers
    is not installed. No code but that of the installed package is run.
    """
    config, _ = resolved(config)
    family = family_of(config.get("model_type")).form(config)
    require("transformers", does=msg("building the reference model"), extra="oracle")
    import torch
    import transformers

    stated = config.get("architectures") or ()
    # Only classes that the family lists: a config does not choose what is looked up.
    listed = {*family.classes, *family.other_classes}
    known = [name for name in (*stated, *family.classes) if name in listed and hasattr(transformers, name)]
    rest = {name: value for name, value in copy.deepcopy(config).items() if name != "model_type"}
    with quiet():
        try:
            settings = transformers.AutoConfig.for_model(family.model_type, **rest)
            with torch.device("meta"):
                model = getattr(transformers, known[0])(settings)
        except Exception as error:
            raise RefusedError(msg("transformers refuses it: {line}", line=_line(error)), where="config") from None
    if config.get("tie_word_embeddings") is False and settings.tie_word_embeddings:
        # T5's class ties the head whatever the file says; the checkpoints that say so have one of their own.
        head = model.get_output_embeddings()
        if head is not None:
            head.weight = torch.nn.Parameter(torch.empty_like(head.weight))
    return model


def reference_shapes(model: Any) -> tuple[dict[str, Shape], dict[str, str]]:
    """The shape of each of a model's parameters by its first name, and that first name by each other one."""
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


def _line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:300]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings: what transformers has to say of a config is about how it would be run."""
    import transformers

    logging: Any = transformers.utils.logging
    before, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(ERROR)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        if had_bars:
            logging.enable_progress_bar()
