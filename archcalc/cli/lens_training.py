"""`archcalc lens --train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from archcalc.cli.language import emit_result
from archcalc.cli.lens_options import LensOptions, OutputOptions, TrainingOptions
from archcalc.cli.model_options import ModelOptions
from archcalc.cli.progress import progress_bar
from archcalc.errors import InputError
from archcalc.render.output import write
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.interp.lens.maps import Lens, LensKind
    from archcalc.interp.lens.texts import TextRows
    from archcalc.run.loading.source import ModelSource

# The first positions, whose states are unusual, are left out of the average Jacobian of a text.
SKIP = 16


def train(
    source: str,
    opened: ModelSource,
    model_options: ModelOptions,
    options: LensOptions,
    training: TrainingOptions,
    show: OutputOptions,
) -> None:
    """Make a lens of a text, write it, and print how near its predictions are to the output."""
    from archcalc.interp.lens.divergence import divergences
    from archcalc.interp.lens.lens_file import lens_bytes
    from archcalc.interp.lens.maps import lens_sites
    from archcalc.interp.lens.result import trained_lens
    from archcalc.interp.lens.texts import text_rows, with_origin
    from archcalc.interp.readout import read_stack
    from archcalc.render import lens as pages
    from archcalc.text.tokenizer_training import read_text

    kind: LensKind = options.kind or "tuned"
    path = str(training.text)
    read_stack(opened.spec)
    _check_training(opened, kind, training)
    file, text = _new_file(source, options, kind), read_text(path)
    rows = text_rows(opened, text, training.seq, model_options.seed, path)
    model = model_options.load(opened, rows.workload(training.seq), packed=False).model
    seen, held_out = rows.split()
    made = _made(model, seen, kind, options, training, model_options.seed)
    lens = with_origin(made, opened, Path(path).name, text)
    write(file, lens_bytes(lens))
    names = [site.name for site in lens_sites(opened.spec, options.sites_or_default)]
    before, after = (
        divergences(model, held_out.texts, names, one, targets=held_out.targets).tolist() for one in (None, lens)
    )
    result = trained_lens(opened, lens, file, names, (before, after))
    emit_result(lambda: result, pages.training_view, None, show.form, output=show.output, color=not show.no_color)


def _check_training(opened: ModelSource, kind: LensKind, training: TrainingOptions) -> None:
    if kind == "logit":
        raise InputError(msg("found logit, which is not trained"), where="kind", allowed="tuned, jacobian")
    longest = min(stack.model.n_ctx for stack in opened.spec.stacks)
    if training.seq > longest:
        raise InputError(msg("found {found}", found=training.seq), where="seq", allowed=msg("2 to {n:,}", n=longest))


def _new_file(source: str, options: LensOptions, kind: LensKind) -> str:
    """Return the file to write. Raises InputError for a source that nothing is written beside."""
    from archcalc.interp.lens.lens_file import lens_path

    if options.file is not None:
        return options.file
    path = None if source == "-" else lens_path(source, kind)
    if path is None or not path.parent.is_dir():
        raise InputError(
            msg("left out, and nothing is written beside {source}", source=source),
            where="lens",
            allowed=msg("the name of a file"),
        )
    return str(path)


def _made(
    model: Any,
    rows: TextRows,
    kind: LensKind,
    options: LensOptions,
    training: TrainingOptions,
    seed: int,
) -> Lens:
    from archcalc.interp.lens.jacobian import jacobian_lens
    from archcalc.interp.lens.training import train_lens

    if kind == "tuned":
        with progress_bar(training.steps, msg("training")) as bar:
            return train_lens(
                model,
                rows.texts,
                rows.targets,
                sites=options.sites_or_default,
                steps=training.steps,
                learning_rate=training.learning_rate,
                seed=seed,
                progress=bar.update,
            )
    with progress_bar(len(rows.texts) * model.spec.d_model, msg("averaging")) as bar:
        # Lines of an encoder-decoder's file may be shorter than the rows of other texts.
        longest = training.seq if rows.targets is None else min(map(len, rows.targets))
        skip = min(SKIP, longest // 4)
        return jacobian_lens(
            model, rows.texts, rows.targets, sites=options.sites_or_default, skip=skip, progress=bar.update
        )
