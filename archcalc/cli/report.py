"""`archcalc report`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from archcalc.analysis.memory import AUTO, DTYPES, DtypeOrAuto
from archcalc.analysis.model_report import model_report
from archcalc.analysis.stored_weights import model_workload
from archcalc.cli.language import byte_units, emit, emit_result, note
from archcalc.cli.options import load_source, output, settings, sizes, source
from archcalc.engines import ENGINES, Engine, check_engine
from archcalc.errors import InputError, shown
from archcalc.ledger.build import build
from archcalc.locations import Gguf, Location, Preset, locate
from archcalc.render import report as pages
from archcalc.render.output import Format
from archcalc.render.page import Page
from archcalc.render.report import VIEWS, View
from archcalc.spec.workload import workload
from archcalc.words import msg

# Files, configs and transformers are imported where they are used: a preset needs none of them.
if TYPE_CHECKING:
    from archcalc.analysis.file_tensors import FileTensors
    from archcalc.analysis.transformers_report import TransformersReport

# The view of what is in the files, which needs no architecture.
FILES: Final = "files"


@click.command("report")
@source()
@click.option(
    "--view",
    type=click.Choice([*VIEWS, FILES]),
    default=None,
    help="What to show (default: summary, or all in HTML); files: the tensors in the files, by their headers.",
)
@sizes
@click.option(
    "--dtype",
    type=click.Choice((AUTO, *DTYPES)),
    default=AUTO,
    show_default=True,
    help="Dtype of weights and KV cache; auto: as the source states it, bf16 if it does not.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="archcalc",
    show_default=True,
    help="Who counts: transformers counts the parameters of any model that it knows.",
)
@click.option(
    "--whole/--no-whole",
    default=True,
    help="Count a model of several parts as a whole too, if transformers is installed (default).",
)
@settings
@output
@byte_units
def command(
    source: str,
    view: View | Literal["files"] | None,
    batch: int,
    seq: int | None,
    past: int,
    source_seq: int | None,
    dtype: DtypeOrAuto,
    engine: Engine,
    whole: bool,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Show the parameters of a model, and the FLOPs and memory of a workload.

    --view chooses the table: the summary with totals, shares and the closed form, or every weight, layer or large
    tensor. CSV contains that table with exact numbers. The JSON object does not depend on --view, but for files.

    --view files shows the tensors in a safetensors file, a folder, a GGUF file or a repository, from their headers: no
    config is needed, and no weight is read. Without a config it is the default.

    --engine transformers counts the parameters of a model that archcalc does not read, such as a vision or speech
    model: no formulas, FLOPs or caches. It runs no code of the repository. Of a model with a vision or audio tower, the
    text model is read; transformers, if it is installed, counts the whole beside it.
    """
    workload_sizes: dict[str, Any] = {"batch": batch, "seq": seq, "past": past, "source_seq": source_seq}
    if engine != "archcalc":
        stated = workload_sizes | {"batch": batch != 1, "view": view, "settings": settings}
        check_engine(engine, stated)
        show_counted(source, dtype, form, output=output, color=not no_color)
        return
    location = locate(source)
    if view == FILES or (view is None and _has_no_architecture(location)):
        show_files(location, form, output=output, color=not no_color)
        return
    try:
        spec = load_source(source, settings)
    except InputError:
        if view or settings or not (architecture := _unread_architecture(location)):
            raise
        note(msg("no architecture {name} is read: these are the tensors of its file", name=shown(architecture)))
        show_files(location, form, output=output, color=not no_color)
        return
    has_files = not settings and not isinstance(location, Preset)
    in_files = _file_tensors(location) if has_files else None
    all_parts = _whole(location, dtype) if has_files and whole else None

    def page() -> Page:
        result = model_report(model_workload(spec, build(spec), workload(spec, **workload_sizes), dtype))
        if form == "html" and view is None:
            shown = pages.full_page(result, spec)
        else:
            shown = pages.view(result, pages.ReportOptions(view or "summary"))
        if view not in (None, "summary") or form == "csv":
            return shown
        # A GGUF file's types are what the weights are stored as already.
        return _beside(shown, None if isinstance(location, Gguf) else in_files, all_parts)

    def data() -> Any:
        from archcalc.contract import report

        return report(spec, dtype=dtype, **workload_sizes) | _data_beside(in_files, all_parts)

    emit(page, data, form, output=output, color=not no_color)


def show_counted(source: str, dtype: DtypeOrAuto, form: Format, *, output: str | None, color: bool) -> None:
    """Print what transformers counts of a source."""
    from archcalc.analysis.transformers_report import transformers_report
    from archcalc.contract import counted_report
    from archcalc.render.transformers_report import view
    from archcalc.sources import config_of

    counted = transformers_report(config_of(source), dtype=dtype)
    emit(lambda: view(counted), lambda: counted_report(counted), form, output=output, color=color)


def show_files(location: Location, form: Format, *, output: str | None, color: bool) -> None:
    """Print the tensors in the files of a source."""
    from archcalc.analysis.file_tensors import file_tensors
    from archcalc.headers import read_headers
    from archcalc.render.file_tensors import FileTensorsOptions, view

    headers = read_headers(location)
    result = file_tensors(headers.source, headers.tensors, is_gguf=headers.is_gguf)
    options = FileTensorsOptions(only_table=form == "csv")
    emit_result(lambda: result, view, options, form, output=output, color=color)


def _has_no_architecture(location: Location) -> bool:
    """Return whether a source has weights alone."""
    if isinstance(location, Preset):
        return False
    from archcalc.headers import has_no_architecture

    return has_no_architecture(location)


def _unread_architecture(location: Location) -> str:
    """Return the architecture that a GGUF file names if archcalc does not read it, else ''."""
    from archcalc.headers import unread_architecture

    return unread_architecture(location)


def _file_tensors(location: Location) -> FileTensors | None:
    """Return the tensors of the files with a model's weights; None without any."""
    from archcalc.analysis.file_tensors import file_tensors
    from archcalc.headers import weight_headers

    headers = weight_headers(location)
    return file_tensors(headers.source, headers.tensors, is_gguf=headers.is_gguf) if headers else None


def _whole(location: Location, dtype: DtypeOrAuto) -> TransformersReport | None:
    """Return what transformers counts of all parts of a model whose text model is read; None if it does not."""
    from archcalc.analysis.transformers_report import transformers_report
    from archcalc.hf import composites
    from archcalc.sources import stated_config

    config = stated_config(location)
    is_installed = find_spec("transformers") and find_spec("torch")
    if config is None or composites.text_model(config) is None or not is_installed:
        return None
    try:
        return transformers_report(config, dtype=dtype)
    except InputError as error:
        note(msg("transformers does not count the whole model: {error}", error=error))
        return None


def _beside(page: Page, in_files: FileTensors | None, all_parts: TransformersReport | None) -> Page:
    """Return a page with what is in the files, and the whole model of which it is a part."""
    if in_files:
        from archcalc.render import file_tensors

        page = file_tensors.beside(page, in_files)
    if all_parts:
        from archcalc.render import transformers_report

        page = transformers_report.beside(page, all_parts)
    return page


def _data_beside(in_files: FileTensors | None, all_parts: TransformersReport | None) -> dict[str, Any]:
    """Return the same for the JSON object."""
    found: dict[str, Any] = {}
    if in_files:
        from msgspec import structs

        from archcalc.results import plain

        found["files"] = plain(structs.replace(in_files, tensors=()))
    if all_parts:
        from archcalc.contract import counted_report

        found["whole"] = counted_report(all_parts)
    return found
