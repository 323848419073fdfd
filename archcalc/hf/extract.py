"""Extract keys, defaults and classes of transformers' configs, without running a model: the data of upstream.json."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from archcalc.hf import registry
from archcalc.hf.classes import DECISION
from archcalc.hf.composites import TIE, TWINS
from archcalc.hf.irrelevant_keys import IRRELEVANT

# The mappings of model types that read and predict text.
_MAPPINGS = ("CAUSAL_LM", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM")
# Configs that nest others describe several models, except these.
_NESTED = ("blt", "dbrx", "encoder-decoder", "esm", "mpt", "t5gemma")
# Keys of every config that describe its class and not the model.
_CLASS_KEYS = {"architectures", "is_encoder_decoder", "model_type"}


def class_data(model_types: list[str]) -> dict[str, Any]:
    """Return the data of `model_types` and of every other text model in the installed transformers.

    `keys`: each key with the values that mean its default; keys that change no number are left out. `classes`: each
    class with its kind, the suffix of its name.
    """
    return {name: _entry(name) for name in sorted({*model_types, *_text_model_types()})}


def to_json_lines(data: dict[str, Any]) -> str:
    """Return the data as JSON with a line for each model type."""
    rows = [f'"{name}": {json.dumps(value, separators=(",", ":"), sort_keys=True)}' for name, value in data.items()]
    return "{\n" + ",\n".join(rows) + "\n}\n"


def composites() -> str:
    """Return what the classes of configs with a `text_config` fill in, as JSON with a line for each."""
    from transformers import CONFIG_MAPPING

    found = {}
    for name in sorted(set(CONFIG_MAPPING) - {DECISION}):
        with suppress(Exception):  # some classes have no defaults
            whole = CONFIG_MAPPING[name]()
            text = whole.text_config.model_type
            tied = {"text_config": {"model_type": text, TIE: True}, TIE: False}
            found[name] = {
                "text": text,
                "tied": bool(getattr(whole, TIE, False)),
                "is_inner": CONFIG_MAPPING[name].from_dict(tied).to_dict().get(TIE) is True,
                "has_head": "AutoModelForCausalLM.from_config(config.text_config" in _model_source(whole),
                "is_flat": _reads_flat(CONFIG_MAPPING[name]),
            }
    return to_json_lines(found)


def twins() -> str:
    """Return the defaults of the text classes of `TWINS` that their twins' classes do not have, as JSON."""
    from transformers import CONFIG_MAPPING

    found = {}
    for name, twin in sorted(TWINS.items()):
        family = registry.find(twin)
        assert family is not None, "a twin is read"
        if name in CONFIG_MAPPING:
            known, theirs = family.keys - IRRELEVANT - _CLASS_KEYS - {TIE}, _plain_defaults(CONFIG_MAPPING[twin])
            own = _plain_defaults(CONFIG_MAPPING[name])
            found[name] = {key: own[key] for key in sorted(known & own.keys()) if own[key] != theirs.get(key)}
    return to_json_lines(found)


def _plain_defaults(config: Any) -> dict[str, Any]:
    """Return the declared numbers, flags and words of a class, and its default theta."""
    declared = {field.name: field.default for field in dataclasses.fields(config)}
    rope = getattr(config(), "rope_parameters", None) or {}
    theta = {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}
    return {name: value for name, value in declared.items() if isinstance(value, int | float | str)} | theta


def _model_source(config: Any) -> str:
    """Return the source of the module with the models of a config, which is not imported; empty if there is none."""
    file = Path(inspect.getfile(type(config)).replace("configuration_", "modeling_"))
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _reads_flat(config: Any) -> bool:
    """Return whether a class without a `text_config` reads the keys of its text model at the top of the file."""
    with suppress(Exception):  # some classes refuse a width without the rest
        return bool(config.from_dict({"hidden_size": 96, "num_attention_heads": 3}).text_config.hidden_size == 96)
    return False


def all_model_types() -> str:
    """Return the names of all model types of the installed transformers as JSON."""
    from transformers import CONFIG_MAPPING

    return json.dumps(sorted(CONFIG_MAPPING), indent=1) + "\n"


def _text_model_types() -> Iterator[str]:
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    for mapping in _MAPPINGS:
        for name in getattr(modeling_auto, f"MODEL_FOR_{mapping}_MAPPING_NAMES"):
            is_single = name in CONFIG_MAPPING and (name in _NESTED or not CONFIG_MAPPING[name].sub_configs)
            if is_single and _auto_classes(name)[0].main_input_name == "input_ids":
                yield name


def _entry(model_type: str) -> dict[str, Any]:
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[model_type]
    auto_classes = _auto_classes(model_type)
    module = import_module(auto_classes[0].__module__)
    keys = _relevant(_source_keys(config, module) | _defaults(config))
    classes = sorted({model.__name__ for model in (*auto_classes, *_exported_models(config, module))})
    return {"keys": dict(sorted(keys.items())), "classes": {name: kind for name in classes if (kind := _kind(name))}}


def _relevant(keys: dict[str, Any]) -> dict[str, Any]:
    """Leave out names that are not keys of a config, and keys that change no number."""
    return {name: values for name, values in keys.items() if name not in IRRELEVANT | _CLASS_KEYS and name[0] != "_"}


def _auto_classes(model_type: str) -> list[Any]:
    """Return the classes that transformers builds for a model type, language models first."""
    import transformers
    from transformers.models.auto import modeling_auto

    mappings = {name: value for name, value in vars(modeling_auto).items() if name.endswith("MAPPING_NAMES")}
    first = [f"MODEL_FOR_{mapping}_MAPPING_NAMES" for mapping in _MAPPINGS]
    names_of_mappings = [mappings[name].get(model_type) for name in dict.fromkeys((*first, *sorted(mappings)))]
    flat = [name for names in names_of_mappings if names for name in ([names] if isinstance(names, str) else names)]
    return [getattr(transformers, name) for name in dict.fromkeys(flat)]


def _defaults(config: Any) -> dict[str, list[Any]]:
    """Return each field's defaults, as declared and as an instance has it, under all of its names."""
    instance = config()
    written = instance.to_dict()
    declared = {field.name: field.default for field in dataclasses.fields(config)}
    values: dict[str, list[Any]] = {}
    for name in dict.fromkeys((*declared, *written)):
        either = [values[name] for values in (declared, written) if name in values and _is_json(values[name])]
        values[name] = _distinct(either)
    aliases = {alias: values[name] for alias, name in config.attribute_map.items() if name in values}
    return aliases | values


def _source_keys(config: Any, module: Any) -> dict[str, list[Any]]:
    """Return the keys that the source code of a config and its model reads, each with the default stated there."""
    from transformers import PreTrainedConfig

    instance = vars(config())
    defaults: dict[str, list[Any]] = {}
    for source in (sys.modules[config.__module__], module):
        for name, default in _reads(ast.parse(inspect.getsource(source))):
            if callable(getattr(PreTrainedConfig, name, None)):
                continue
            value = instance.get(config.attribute_map.get(name, name), default)
            defaults[name] = _distinct([*defaults.get(name, []), default, *([value] if _is_json(value) else [])])
    return defaults


def _reads(tree: ast.AST) -> Iterator[tuple[str, Any]]:
    """Yield each key that code reads from a config or its keyword arguments, with the default, or None."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_config(node.value):
            yield node.attr, None
        elif isinstance(node, ast.Call) and (key := _call(node)):
            yield key


def _call(node: ast.Call) -> tuple[str, Any] | None:
    """Return key and default of `getattr(config, …)`, `hasattr(config, …)`, `kwargs.pop(…)`, `kwargs.get(…)`."""
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


def _exported_models(config: Any, module: Any) -> Iterator[Any]:
    """Yield the models that a module exports for a config."""
    for name in getattr(module, "__all__", ()):
        model = getattr(module, name)
        if getattr(model, "config_class", None) is config and "pretrained" not in name.lower():
            yield model


def _kind(name: str) -> str:
    """Return the kind in a class's name: 'Model', 'ForCausalLM', 'LMHeadModel'; '' if it is not a model.

    >>> _kind("LlamaForSequenceClassification"), _kind("ReformerModelWithLMHead"), _kind("T5EncoderModel")
    ('ForSequenceClassification', 'ModelWithLMHead', 'EncoderModel')
    """
    match = re.search(
        r"(For(?!mer)[A-Z]\w+|(ModelWith|)LMHead(Model|)|(DoubleHeads|Encoder|Decoder|MT|)Model|Encoder|Decoder)$", name
    )
    return match[0] if match else ""


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _distinct(values: list[Any]) -> list[Any]:
    """Return the values without duplicates; True and 1 are different."""
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


def adapter_targets() -> str:
    """Return what peft adapts in the model types that it knows, as JSON with a line for each table.

    `targets`, `feedforward`: the modules of a type where none are named. `renamed`: former names of experts' matrices,
    which peft translates, with the types that have them. `prompts`: sizes that it does not find.
    """
    from peft.utils import constants
    from peft.utils import transformers_weight_conversion as conversion

    conversions: Any = import_module("transformers.conversion_mapping")
    types = {
        name: family
        for name, family in vars(conversion)["_MODEL_TO_CONVERSION_PATTERN"].items()
        if family in conversion._MOE_FUSED_TARGETS and conversions.get_checkpoint_conversion_mapping(name) is not None
    }
    tables: dict[str, Any] = {
        f"targets.{method}": getattr(constants, f"TRANSFORMERS_MODELS_TO_{method.upper()}_TARGET_MODULES_MAPPING")
        for method in ("lora", "vera", "ia3")
    }
    tables["feedforward.ia3"] = constants.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING
    tables["renamed.types"] = types
    tables["renamed.names"] = conversion._MOE_TARGET_MODULE_MAPPING
    tables["renamed.fused"] = conversion._MOE_FUSED_TARGETS
    tables["prompts.missing"], tables["prompts.split"] = _prompt_sizes()
    return to_json_lines(tables)


# The keys that peft knows for what virtual tokens need of a config; it reads the number of layers as an attribute.
_PROMPT_SIZES = {
    "token_dim": ("hidden_size", "n_embd", "d_model"),
    "num_attention_heads": ("num_attention_heads", "n_head", "num_heads", "encoder_attention_heads"),
}


def _prompt_sizes() -> tuple[dict[str, str], dict[str, bool]]:
    """Return the first size that peft does not find in a type's config, and the types whose width it divides by heads.

    These are types with grouped keys whose config does not state a head's width.
    """
    from transformers import CONFIG_MAPPING

    missing: dict[str, str] = {}
    split: dict[str, bool] = {}
    for name in registry.model_types():
        with suppress(Exception):  # some classes have no defaults
            config = CONFIG_MAPPING[name]()
            keys = config.to_dict()
            unknown = [size for size, known in _PROMPT_SIZES.items() if not set(known) & set(keys)]
            unknown = unknown if hasattr(config, "num_hidden_layers") else ["num_layers", *unknown]
            missing |= {name: unknown[0]} if unknown else {}
            split |= {name: True} if "num_key_value_heads" in keys and "head_dim" not in keys else {}
    return missing, split
