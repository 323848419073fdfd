"""What a view shows as files: those of the command line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec import structs

from archcalc.dashboard.downloads import download_button, download_row
from archcalc.dashboard.inside.view import Output
from archcalc.dashboard.session import lang, say
from archcalc.render.html import as_html
from archcalc.render.output import as_json
from archcalc.render.text import as_csv, as_markdown
from archcalc.results import plain
from archcalc.words import Translator, msg, translator

_MEDIA_TYPES: Final = {"html": "text/html", "json": "application/json", "csv": "text/csv", "md": "text/markdown"}


def show(output: Output, name: str) -> None:
    """Draw a download button for each format; `name` is the name of the files."""
    with download_row(say()(msg("Save the view"))):
        for form, media_type in _MEDIA_TYPES.items():
            download_button(form.upper(), partial(_content, output, form, lang()), f"{name}.{form}", media_type)


def text(output: Output, form: str, lang: str) -> str:
    """Return what the command line writes in a format and a language."""
    return _FORMATS[form](output, translator(lang))


def _content(output: Output, form: str, lang: str) -> bytes:
    return text(output, form, lang).encode()


def _html(output: Output, say: Translator) -> str:
    if output.html is not None:
        return output.html(say)
    return as_html(say.within(structs.replace(output.page(), lang=say.lang)))


_FORMATS: Final[dict[str, Callable[[Output, Translator], str]]] = {
    "html": _html,
    "json": lambda output, say: as_json(plain(output.result)),
    "csv": lambda output, say: as_csv(output.page()),
    "md": lambda output, say: as_markdown(say.within(output.page())),
}
