"""Extract the package's messages into the catalogs, and compile these: `python -m tests.catalogs`.

A message that is new stands in the catalog untranslated until somebody translates it; one that is gone leaves it.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from babel.messages import Catalog, mofile, pofile

from archcalc.cli.help import CLICK_TEXTS, help_texts
from archcalc.cli.main import COMMANDS, cli
from archcalc.words import DOMAIN, LANGS, LOCALE

PACKAGE = Path(LOCALE).parent
# The functions of `archcalc.words` that make a message.
MAKERS = ("msg", "plural", "in_context")


def messages() -> Catalog:
    """Return every message of the package's code, without translations."""
    found = Catalog(fuzzy=False)
    for path in sorted(PACKAGE.rglob("*.py")):
        with path.open("rb") as file:
            for maker, texts in _made(ast.parse(file.read())):
                context, text = texts if maker == "in_context" else (None, texts[0] if maker == "msg" else texts)
                found.add(text, context=context)
    for text in _help_texts():
        found.add(text)
    return found


def _help_texts() -> Iterator[str | tuple[str, str]]:
    """Yield the texts of every command's help, and those of click."""
    yield from CLICK_TEXTS
    for group_or_command in (
        cli,
        *(import_module(f"archcalc.cli.{module}").command for module, _ in COMMANDS.values()),
    ):
        yield from help_texts(group_or_command)
    yield from (text for _, text in COMMANDS.values())


def _made(tree: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the maker and the texts of each message, within f-strings too; a text that is not literal is an error."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
            yield node.func.id, tuple(ast.literal_eval(argument) for argument in node.args)


def path_of(lang: str, suffix: str) -> Path:
    """Return the path of a language's catalog."""
    return Path(LOCALE) / lang / "LC_MESSAGES" / f"{DOMAIN}.{suffix}"


def read(lang: str) -> Catalog:
    """Return a language's catalog as it stands in the tree."""
    with path_of(lang, "po").open("rb") as file:
        return pofile.read_po(file, locale=lang)


def updated(lang: str) -> Catalog:
    """Return a language's catalog with the messages of the code, translated as far as it has them."""
    old, new = read(lang), Catalog(locale=lang, fuzzy=False)
    for message in messages():
        if message.id:
            known = old.get(message.id if isinstance(message.id, str) else message.id[0], message.context)
            string = known.string if known and known.id == message.id else ""
            new.add(message.id, string, context=message.context)
    return new


def as_po(catalog: Catalog) -> bytes:
    """Return a catalog as the text of a .po file, sorted, without what differs from day to day."""
    file = io.BytesIO()
    pofile.write_po(file, catalog, width=120, sort_output=True, omit_header=True)
    fields = (
        f"Language: {catalog.locale}",
        "Content-Type: text/plain; charset=utf-8",
        f"Plural-Forms: {catalog.plural_forms}",
    )
    header = "".join(f'"{field}\\n"\n' for field in fields)
    return f'msgid ""\nmsgstr ""\n{header}\n'.encode() + file.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    """Return a catalog as the bytes of a .mo file, which the standard library's gettext reads."""
    file = io.BytesIO()
    catalog.creation_date = catalog.revision_date = datetime(2026, 1, 1, tzinfo=UTC)  # the bytes say the messages alone
    mofile.write_mo(file, catalog)
    return file.getvalue()


def compiled(lang: str) -> bytes:
    """Return the .mo file that belongs to the .po file in the tree."""
    return as_mo(read(lang))


if __name__ == "__main__":
    for language in LANGS[1:]:
        path_of(language, "po").write_bytes(as_po(updated(language)))
        path_of(language, "mo").write_bytes(compiled(language))
