"""Extract what transformers' classes know of a config, without running a model: the data of `upstream.json`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from archcalc.hf.irrelevant_keys import IRRELEVANT

# The mappings whose model types read and predict text.
_MAPPINGS = ("CAUSAL_LM", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM")
# Configs that hold others are of several models, but for these.
_NESTED = ("blt", "dbrx", "encoder-decoder", "esm", "mpt", "t5gemma")
# What every config says of its class and not of the model.
_ASIDE = {"architectures", "is_encoder_decoder", "model_type"}


def class_data(model_types: list[str]) -> dict[str, Any]:
    """Return what is known of `model_types` and of every other text model of the installed transformers.

    A key stands with the values that mean its default; those that change no number are left out. A class stands with
    its kind: the suffix of its name.
    """
    return {name: _type(name) for name in sorted({*model_types, *_text_types()})}


def to_json_lines(data: dict[str, Any]) -> str:
    """Return the data as JSON with a line for each model type."""
    rows = [f'"{name}": {json.dumps(value, separators=(",", ":"), sort_keys=True)}' for name, value in data.items()]
    return "{\n" + ",\n".join(rows) + "\n}\n"


def _text_types() -> Iterator[str]:
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    for mapping in _MAPPINGS:
        for name in getattr(modeling_auto, f"MODEL_FOR_{mapping}_MAPPING_NAMES"):
            whole = name in CONFIG_MAPPING and (name in _NESTED or not CONFIG_MAPPING[name].sub_configs)
            if whole and _offered(name)[0].main_input_name == "input_ids":
                yield name


def _type(model_type: str) -> dict[str, Any]:
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[model_type]
    offered = _offered(model_type)
    module = import_module(offered[0].__module__)
    keys = _relevant(_stated(config, module) | _defaults(config))
    classes = sorted({model.__name__ for model in (*offered, *_exported(config, module))})
    return {"keys": dict(sorted(keys.items())), "classes": {name: kind for name in classes if (kind := _kind(name))}}


def _relevant(keys: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is no key of a config, and what changes no number."""
    return {name: values for name, values in keys.items() if name not in IRRELEVANT | _ASIDE and name[0] != "_"}


def _offered(model_type: str) -> list[Any]:
    """Return the classes that transformers builds for a model type, a language model first."""
    import transformers
    from transformers.models.auto import modeling_auto

    mappings = {name: value for name, value in vars(modeling_auto).items() if name.endswith("MAPPING_NAMES")}
    first = [f"MODEL_FOR_{mapping}_MAPPING_NAMES" for mapping in _MAPPINGS]
    named = [mappings[name].get(model_type) for name in dict.fromkeys((*first, *sorted(mappings)))]
    flat = [name for names in named if names for name in ([names] if isinstance(names, str) else names)]
    return [getattr(transformers, name) for name in dict.fromkeys(flat)]


def _defaults(config: Any) -> dict[str, list[Any]]:
    """Return each field's default, as it is declared and as an instance has it, under all of its names."""
    instance = config()
    saved = instance.to_dict()
    declared = {field.name: field.default for field in dataclasses.fields(config)}
    values: dict[str, list[Any]] = {}
    for name in dict.fromkeys((*declared, *saved)):
        either = [values[name] for values in (declared, saved) if name in values and _is_json(values[name])]
        values[name] = _distinct(either)
    aliases = {alias: values[name] for alias, name in config.attribute_map.items() if name in values}
    return aliases | values


def _stated(config: Any, module: Any) -> dict[str, list[Any]]:
    """Return what the sources of a config and its model read by name, each with the default that is stated there."""
    from transformers import PreTrainedConfig

    saved = vars(config())
    found: dict[str, list[Any]] = {}
    for source in (sys.modules[config.__module__], module):
        for name, default in _reads(ast.parse(inspect.getsource(source))):
            if callable(getattr(PreTrainedConfig, name, None)):
                continue
            value = saved.get(config.attribute_map.get(name, name), default)
            found[name] = _distinct([*found.get(name, []), default, *([value] if _is_json(value) else [])])
    return found


def _reads(tree: ast.AST) -> Iterator[tuple[str, Any]]:
    """Yield each key that code reads of a config or of the keywords of one, and its default there, else None."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_config(node.value):
            yield node.attr, None
        elif isinstance(node, ast.Call) and (found := _call(node)):
            yield found


def _call(node: ast.Call) -> tuple[str, Any] | None:
    """Return the key and default of `getattr(config, …)`, `hasattr(config, …)`, `kwargs.pop(…)`, `kwargs.get(…)`."""
    function, arguments = node.func, node.args
    if isinstance(function, ast.Name) and function.id in ("getattr", "hasattr") and _is_config(arguments[0]):
        arguments = arguments[1:]
    elif not (
        isinstance(function, ast.Attribute)
        and function.attr in ("pop", "get", "setdefault")
        and isinstance(function.value, ast.Name)
        and function.value.id == "kwargs"
    ):
        return None
    if not arguments or not isinstance(arguments[0], ast.Constant) or not isinstance(arguments[0].value, str):
        return None
    default = arguments[1] if len(arguments) > 1 else None
    return arguments[0].value, default.value if isinstance(default, ast.Constant) else None


def _is_config(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name == "config" or name.endswith("_config")


def _exported(config: Any, module: Any) -> Iterator[Any]:
    """Yield the models that a module exports for a config."""
    for name in getattr(module, "__all__", ()):
        model = getattr(module, name)
        if getattr(model, "config_class", None) is config and "pretrained" not in name.lower():
            yield model


def _kind(name: str) -> str:
    """Return what a class's name says of its head: 'Model', 'ForCausalLM', 'LMHeadModel'; '' where it is no model.

    >>> _kind("LlamaForSequenceClassification"), _kind("ReformerModelWithLMHead"), _kind("T5EncoderModel")
    ('ForSequenceClassification', 'ModelWithLMHead', 'EncoderModel')
    """
    found = re.search(
        r"(For(?!mer)[A-Z]\w+|(ModelWith|)LMHead(Model|)|(DoubleHeads|Encoder|Decoder|MT|)Model|Encoder|Decoder)$", name
    )
    return found[0] if found else ""


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _distinct(values: list[Any]) -> list[Any]:
    """Return the values without repetition; True and 1 are two."""
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())
