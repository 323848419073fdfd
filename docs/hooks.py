"""Build the pages of the site that are not in `docs/`, and the references of the command line and of Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import archcalc
from archcalc.cli.main import COMMANDS, cli
from archcalc.cli.schema import RESULTS, schema

ROOT = Path(__file__).parents[1]
# File at the top of the repository → page of the site.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
WIDTH = 100


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in `docs/`."""
    for name, page in PAGES.items():
        content = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill in the references, and adjust links: in the site, the top of the repository and `docs/` are one folder."""
    for name, page in PAGES.items():
        markdown = markdown.replace(f"]({name}", f"]({page}").replace(f"](../{name}", f"]({page}")
    markdown = markdown.replace("](docs/", "](")
    return (
        markdown.replace("<!-- commands -->", commands())
        .replace("<!-- names -->", names())
        .replace("<!-- results -->", results())
    )


def commands() -> str:
    """Return the help of every command, as the command prints it."""
    group = click.Context(cli, info_name="archcalc", terminal_width=WIDTH, **cli.context_settings)
    parts = []
    for name in COMMANDS:
        command = cli.get_command(group, name)
        if command is not None:
            text = command.get_help(click.Context(command, group, name, terminal_width=WIDTH))
            parts.append(f"### {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def results() -> str:
    """Return a table of the fields of every command's JSON, from its schema."""
    return "\n".join(f"## {name}\n\n{''.join(_tables(schema(name)))}" for name in RESULTS)


def _tables(definitions: dict[str, Any]) -> Iterator[str]:
    """Yield a table for the object, then for each record in it."""
    whole = definitions.get("$ref", "").rpartition("/")[2]
    for name, record in sorted(definitions["$defs"].items(), key=lambda item: item[0] != whole):
        if "properties" not in record:
            continue
        rows = "".join(
            f"| `{field}` | {_type(part)} | {part.get('description', '')} |\n"
            for field, part in record["properties"].items()
        )
        summary = record.get("description", "").partition("\n")[0]
        yield f"### {name}\n\n{summary}\n\n| field | type | |\n|---|---|---|\n{rows}\n"


def _type(part: dict[str, Any]) -> str:
    """Return the type of a field in words."""
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(map(_type, part["anyOf"])))
    if "$ref" in part:
        name = str(part["$ref"]).rpartition("/")[2]
        return "string" if name == "Message" else name
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if part.get("type") == "array":
        return f"list of {_type(part.get('items') or {})}".removesuffix(" of ")
    return str(part.get("type", ""))


def names() -> str:
    """Return what mkdocstrings fills in for each public name: functions, then classes."""
    public = [name for name in archcalc.__all__ if not name.startswith("_")]
    functions = [f"::: archcalc.{name}" for name in public if name.islower()]
    classes = [f"::: archcalc.{name}" for name in public if not name.islower()]
    return "\n\n".join(["## Functions", *functions, "## Classes", *classes])
