"""`archcalc new`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from archcalc.cli.language import current, lang
from archcalc.errors import InputError, shown
from archcalc.presets import folder
from archcalc.render.output import write
from archcalc.sources import load
from archcalc.spec.yaml_reader import parse
from archcalc.words import msg


@click.command("new")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead.")
@lang
def command(name: str, output: Path | None) -> None:
    """Write NAME.yaml, a small model's spec with every choice explained in comments, ready to be changed."""
    path = Path(name)
    called = path.stem if path.suffix in (".yaml", ".yml") else path.name
    if not called.strip(".") or not called.isprintable() or name.endswith("/"):
        raise InputError(msg("found {name}", name=shown(name)), where="NAME", allowed=msg("a name such as 'my-model'"))
    file = output or path.with_name(path.name if path.suffix in (".yaml", ".yml") else f"{path.name}.yaml")
    template = Path(folder(), "template.yaml").read_text(encoding="utf-8")
    text = template.replace("name: my-model", f"name: {_in_yaml(called)}", 1)
    load(parse(text.encode()))
    write(str(file), text, replace=False)
    click.echo(current()(msg("wrote {file}; try: archcalc report {typed}", file=file, typed=_as_typed(file))))


def _in_yaml(name: str) -> str:
    """A name as YAML says it: quoted where it would be read as something else."""
    try:
        is_itself = parse(f"name: {name}".encode()) == {"name": name}
    except InputError:
        is_itself = False
    return name if is_itself else json.dumps(name, ensure_ascii=False)


def _as_typed(path: Path) -> str:
    """A path as a shell takes it, and never for a preset's name or an option."""
    return shlex.quote(str(path) if path.is_absolute() or path.parts[0] == ".." else f"./{path}")
