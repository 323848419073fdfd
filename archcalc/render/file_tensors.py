"""The tensors in a model's files as a page."""

from __future__ import annotations

import msgspec
from msgspec import structs

from archcalc.analysis.file_tensors import FileComponentRow, FileTensorRow, FileTensors
from archcalc.render.page import Page, Table
from archcalc.render.tables import table
from archcalc.words import joined, msg, plural


class FileTensorsOptions(msgspec.Struct, frozen=True):
    """What the page shows: with `only_table`, the table of all tensors alone."""

    only_table: bool = False


def view(result: FileTensors, options: FileTensorsOptions) -> Page:
    """Return the page of the tensors by component and type, and one by one."""
    tensors = table(msg("Tensors"), result.tensors, FileTensorRow, total=msg("total"))
    sizes = (
        plural("{n:,} file", "{n:,} files", n=len(result.files)),
        plural("{n:,} tensor", "{n:,} tensors", n=len(result.tensors)),
        msg("{n:,} bytes", n=result.bytes),
        msg("{bits:.2f} bits an element", bits=result.bits_per_element),
    )
    blocks = [tensors] if options.only_table else [by_component(result), tensors]
    return Page(msg("{source}: tensors in the files", source=result.source), joined(" · ", sizes), blocks)


def beside(page: Page, result: FileTensors) -> Page:
    """Return the page of a model with what its files hold."""
    return structs.replace(page, blocks=[*page.blocks, by_component(result)])


def by_component(result: FileTensors) -> Table:
    """Return the table of the tensors by component and type."""
    return table(msg("In the files, by their headers"), result.components, FileComponentRow, total=msg("total"))
