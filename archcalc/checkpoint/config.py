"""Read the config of a folder with weights in Hugging Face layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archcalc.errors import InputError, shown
from archcalc.locations import CONFIG_FILE
from archcalc.spec.yaml_reader import MAX_BYTES, parse
from archcalc.words import msg


def read_config(folder: Path) -> dict[str, Any]:
    """Return the folder's config.json. Raise InputError if there is none or the weights are quantized."""
    path = folder / CONFIG_FILE
    try:
        with open(path, "rb") as file:
            config = parse(file.read(MAX_BYTES + 1))
        if not isinstance(config, dict):
            raise InputError(msg("found {found}", found=shown(config)), allowed=msg("a Hugging Face config"))
        if quantization := config.get("quantization_config"):
            is_mapping = isinstance(quantization, dict)
            method = quantization.get("quant_method") if is_mapping else quantization
            raise InputError(
                msg("the weights are quantized ({method})", method=shown(method)),
                where="quantization_config",
                allowed=msg("F64, F32, F16 or BF16"),
            )
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=str(path)) from None
    except InputError as error:
        raise error.within(str(path)) from None
    return config
