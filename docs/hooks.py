"""Build the pages of the site that are files at the top of the repository, and adjust their links."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# File at the top of the repository → page of the site.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in `docs/`."""
    for name, page in PAGES.items():
        content = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace links between the top of the repository and `docs/`, which are one folder in the site."""
    for name, page in PAGES.items():
        markdown = markdown.replace(f"]({name}", f"]({page}").replace(f"](../{name}", f"]({page}")
    return markdown.replace("](docs/", "](")
