"""Read the config of a folder with weights in Hugging Face layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archcalc.errors import InputError, shown
from archcalc.hf.storage import LOADED, quantization_method
from archcalc.locations import CONFIG_FILE
from archcalc.sources import with_quantization
from archcalc.spec.document import Document
from archcalc.spec.text_bounds import MAX_BYTES
from archcalc.spec.yaml_reader import parse
from archcalc.words import msg


def read_config(folder: Path) -> dict[str, Any]:
    """Return the folder's config.json, with the quantization stated beside it. Raise InputError if there is none."""
    path = folder / CONFIG_FILE
    try:
        with open(path, "rb") as file:
            config = parse(file.read(MAX_BYTES + 1))
        if not isinstance(config, dict):
            raise InputError(msg("found {found}", found=shown(config)), allowed=msg("a Hugging Face config"))
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=str(path)) from None
    except InputError as error:
        raise error.within(str(path)) from None
    return with_quantization(config, folder)


def check_quantization(config: Mapping[str, Any], document: Document) -> None:
    """Raise InputError if the weights of a config's document are quantized in a way that is counted, but not loaded."""
    method, formats = quantization_method(config), document.get("about", {}).get("storage", {}).get("formats", ())
    if method and not any(one.get("packing") for one in formats):
        raise InputError(
            msg("the weights are quantized ({method})", method=shown(method)),
            where="quantization_config",
            allowed=msg("a method that is loaded: {methods}", methods=", ".join(LOADED)),
        )
