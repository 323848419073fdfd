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
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write (default: NAME.yaml)."
)
@lang
def command(name: str, output: Path | None) -> None:
    """Write NAME.yaml, the spec of a small model with comments that explain every field."""
    path = Path(name)
    model_name = path.stem if path.suffix in (".yaml", ".yml") else path.name
    if not model_name.strip(".") or not model_name.isprintable() or name.endswith("/"):
        raise InputError(
            msg("found {found}", found=shown(name)), where="NAME", allowed=msg("a name such as 'my-model'")
        )
    file = output or path.with_name(path.name if path.suffix in (".yaml", ".yml") else f"{path.name}.yaml")
    template = Path(folder(), "template.yaml").read_text(encoding="utf-8")
    text = template.replace("name: my-model", f"name: {_yaml_scalar(model_name)}", 1)
    load(parse(text.encode()))
    write(str(file), text, replace=False)
    click.echo(current()(msg("wrote {file}; try: archcalc report {typed}", file=file, typed=_shell_path(file))))


def _yaml_scalar(name: str) -> str:
    """Return a name as a YAML scalar, quoted where it would be read as something else."""
    try:
        is_plain_scalar = parse(f"name: {name}".encode()) == {"name": name}
    except InputError:
        is_plain_scalar = False
    return name if is_plain_scalar else json.dumps(name, ensure_ascii=False)


def _shell_path(path: Path) -> str:
    """Return a path quoted for a shell, in a form that is neither a preset's name nor an option."""
    return shlex.quote(str(path) if path.is_absolute() or path.parts[0] == ".." else f"./{path}")
