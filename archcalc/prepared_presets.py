"""The presets' documents as JSON, which is read without PyYAML: it takes longer to import than a report takes.

The YAML files are the presets. `python -m archcalc.prepared_presets` writes this copy of them, after a change; until
then a file that differs from its copy is parsed.
"""

from __future__ import annotations

import os
from typing import Any
from zlib import crc32

import msgspec

from archcalc import presets


def file() -> str:
    """Return the path of the copy."""
    return os.path.join(presets.folder(), "prepared.json")


def prepared(path: str, content: bytes) -> dict[str, Any] | None:
    """Return the document of a preset's file with this content; None if the copy has another, or none."""
    try:
        with open(file(), "rb") as copy:
            copies: dict[str, tuple[int, dict[str, Any]]] = msgspec.json.decode(copy.read())
    except OSError:
        return None
    checksum, document = copies.get(os.path.basename(path), (None, None))
    return document if checksum == crc32(content) else None


def to_json() -> str:
    """Return the content of the copy: by file, the checksum of its bytes and its document."""
    from archcalc.spec.yaml_reader import parse

    lines = []
    for name in presets.names():
        with open(str(presets.path_of(name)), "rb") as preset:
            content = preset.read()
        pair = msgspec.json.encode((crc32(content), parse(content))).decode()
        lines.append(f'"{name}.yaml":{pair}')
    return "{" + ",\n".join(lines) + "}\n"


if __name__ == "__main__":
    with open(file(), "w", encoding="utf-8") as copy:
        copy.write(to_json())
