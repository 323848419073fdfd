"""`archcalc steer`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import click

from archcalc.cli.language import current, emit_result
from archcalc.cli.model_options import ModelOptions, model_options, sampling
from archcalc.cli.options import FILE, SOURCE, output
from archcalc.cli.progress import progress_bar
from archcalc.cli.ranges import number_ranges
from archcalc.errors import InputError, shown
from archcalc.render.output import Format, write
from archcalc.run.decoding.prompts import one_prompt
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.interp.steer.direction import Direction
    from archcalc.interp.steer.layers import StackName
    from archcalc.interp.steer.prompts import ContrastPrompts
    from archcalc.interp.steer.result import SteeredRow
    from archcalc.interp.steer.states import Tokens
    from archcalc.nn.taps.edits import Edit
    from archcalc.run.decoding.sampling_options import Sampling
    from archcalc.run.loading.source import LoadedModel, ModelSource

STRENGTHS = "0.25,0.5"
_SLICE = re.compile(r"(\d{0,6}):(\d{0,6})")


@click.command("steer")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", metavar="TEXT", help="Prompt to continue (of an encoder-decoder, the source).")
@click.option("--ids", metavar="1,2,3", help="Prompt as token ids, instead of --prompt.")
@click.option("--positive", "positive", metavar="TEXT", multiple=True, help="Prompt to steer towards; repeatable.")
@click.option("--negative", "negative", metavar="TEXT", multiple=True, help="Prompt to steer away from; repeatable.")
@click.option("--positive-ids", metavar="1,2,3", multiple=True, help="Prompt to steer towards, as token ids.")
@click.option("--negative-ids", metavar="1,2,3", multiple=True, help="Prompt to steer away from, as token ids.")
@click.option("--pairs", type=FILE, help="File of prompts; on each line a positive one, a tab, and a negative one.")
@click.option("--chat", is_flag=True, help="Put every text into the chat template, as a user's message.")
@click.option(
    "--method",
    type=click.Choice(["mean", "pca"]),
    help="Difference of the means (default), or first principal component of the differences of pairs.",
)
@click.option(
    "--tokens",
    metavar="last|all|M:N",
    help="Tokens of the contrasting prompts whose states are read (default: last).",
)
@click.option("--layers", metavar="10-14,20|all", help="Layers to steer (default: the middle one).")
@click.option("--from-layer", type=click.IntRange(0), help="Use the direction of this layer (default: each its own).")
@click.option(
    "--strength",
    "strength",
    metavar="0.25,0.5",
    help=f"Norm of what is added, relative to the residual stream's mean norm (default: {STRENGTHS}); 0 is the plain "
    "model, and always included.",
)
@click.option("--project-out", is_flag=True, help="Remove the component along the direction instead of adding it.")
@click.option(
    "--from-token",
    type=click.IntRange(0),
    help="First position to steer (default: the prompt's last; with --project-out, and of an encoder-decoder, 0).",
)
@click.option(
    "--stack", type=click.Choice(["encoder", "decoder"]), help="Stack of an encoder-decoder (default: decoder)."
)
@click.option("-n", "--max-tokens", type=click.IntRange(1), default=32, show_default=True, help="Maximum new tokens.")
@click.option("--save", type=FILE, help="Write the direction to this file (safetensors).")
@click.option("--direction", type=FILE, help="Use the direction of this file instead of contrasting prompts.")
@click.option("--plot", type=FILE, help="Chart of KL and perplexity over the strengths (.html, .png or .svg).")
@sampling
@model_options
@output
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    chat: bool,
    layers: str | None,
    from_layer: int | None,
    strength: str | None,
    project_out: bool,
    from_token: int | None,
    max_tokens: int,
    save: str | None,
    plot: str | None,
    sampling: Sampling,
    model_options: ModelOptions,
    seed: int,
    form: Format,
    output: str | None,
    no_color: bool,
    **contrast: Any,
) -> None:
    """Steer a model while it generates: add a direction to the residual stream, or project it out.

    The direction comes from contrasting prompts, or from a file. With strength s, s × the mean norm of the residual
    stream after a layer × the unit vector is added after that layer. Each text is shown with the KL divergence of its
    next tokens from the plain model's, and with its perplexity under the plain model. SOURCE is as for `archcalc
    generate`. Without a prompt, the direction is only shown and saved.

    \b
    Examples:
      archcalc steer tiny -p "And the man" --positive "the king" --negative "the field" --layers 2 --strength 0.5,1
      archcalc steer tiny --positive "the king" --negative "the field" --save king.safetensors
      archcalc steer tiny -p "And the man" --direction king.safetensors --project-out --layers all
      archcalc steer model.gguf --chat -p "How do I plant a tree?" --pairs refusal.tsv --layers 18 --strength 0.2
    """
    _check_direction(contrast)
    strengths = _strengths(strength, project_out=project_out)
    has_prompt = prompt is not None or ids is not None
    if not has_prompt and not save:
        raise InputError(msg("neither"), where="prompt, ids", allowed=msg("one of them, or `save`"))
    if plot and not has_prompt:
        raise InputError(msg("found without a prompt"), where="plot", allowed=msg("with `prompt`"))
    opened = model_options.open(source)

    from archcalc.interp.steer.result import Steering, direction_rows
    from archcalc.render.steer import view
    from archcalc.run.decoding.decoding_state import check_prompts

    spec = opened.spec
    request = _direction_request(opened, contrast, chat=chat)
    input_ids: list[int] = []
    if has_prompt:
        input_ids = _input_ids(opened, prompt, ids, chat=chat)
        check_prompts(spec, [input_ids])
    steered = _layers(layers, request, from_layer)
    first = (
        _first_token(request, len(input_ids), from_token, max_tokens, project_out=project_out) if has_prompt else None
    )
    loaded = model_options.load(opened, _workload(request, input_ids, max_tokens), packed=False)
    direction = request.direction(loaded)
    if save:
        from archcalc.interp.steer.direction_file import direction_bytes

        write(save, direction_bytes(direction))
    plan = _edits(direction, strengths, steered, from_layer, first, project_out=project_out)
    rows: list[SteeredRow] = []
    if has_prompt:
        rows = _texts(loaded, input_ids, plan, max_tokens=max_tokens, sampling=sampling, seed=seed)
    result = Steering(
        name=spec.name,
        label=opened.label,
        origin=dict(direction.origin),
        stack=direction.stack,
        layers=steered,
        from_layer=from_layer,
        from_token=first,
        prompt=prompt,
        prompt_ids=tuple(input_ids),
        texts=tuple(rows),
        directions=direction_rows(direction, steered if has_prompt else ()),
    )
    if plot:
        from archcalc.render.charts.file import as_file
        from archcalc.render.charts.steer import chart

        write(plot, as_file(plot, lambda: chart(result), current()))
    emit_result(lambda: result, view, None, form, output=output, color=not no_color)


@dataclass(frozen=True)
class _SteerRequest:
    """Where the direction comes from: contrasting prompts, or a file. Checked before weights are loaded."""

    source: ModelSource
    stack: StackName | None
    prompts: ContrastPrompts | None
    method: Any
    tokens: Tokens
    is_chat: bool
    saved: Direction | None

    @property
    def n_layers(self) -> int:
        """Return the number of layers of the stack."""
        from archcalc.interp.steer.layers import stack_of

        return stack_of(self.source.spec, self.stack)[0].stack.n_layers or 0

    def direction(self, loaded: LoadedModel) -> Direction:
        """Return the direction, with a progress bar on a terminal while prompts are read."""
        from archcalc.interp.steer.direction import direction

        if self.saved is not None:
            return self.saved
        assert self.prompts is not None, "a request has prompts or a direction"
        with progress_bar(sum(map(len, self.prompts.ids.values())), msg("reading the prompts")) as bar:
            found = direction(
                loaded.model,
                self.prompts.ids["positive"],
                self.prompts.ids["negative"],
                method=self.method,
                tokens=self.tokens,
                stack=self.stack,
                start_id=self.source.start_id,
                progress=bar.update,
            )
        return replace(found, origin={**found.origin, **self.prompts.shown, "chat": self.is_chat})


def _check_direction(options: dict[str, Any]) -> None:
    """Raise InputError for contrasting prompts and a saved direction, and for neither."""
    has_prompts = any(options[name] for name in ("pairs", "positive", "negative", "positive_ids", "negative_ids"))
    if has_prompts == bool(options["direction"]):
        problem = msg("both") if has_prompts else msg("neither")
        raise InputError(problem, where="positive, direction", allowed=msg("one of them"))


def _direction_request(opened: ModelSource, options: dict[str, Any], *, chat: bool) -> _SteerRequest:
    """Return where the direction comes from."""
    from archcalc.interp.steer.direction_file import load_direction
    from archcalc.interp.steer.layers import stack_of
    from archcalc.interp.steer.prompts import GROUPS, contrast_prompts, read_pairs
    from archcalc.interp.steer.states import check_prompts

    texts = {group: list(options[group]) for group in GROUPS}
    id_lists = {group: options[f"{group}_ids"] for group in GROUPS}
    method, tokens = options["method"] or "mean", _tokens(options["tokens"] or "last")
    if options["direction"]:
        if unused := [name for name in ("method", "tokens") if options[name]]:
            raise InputError(
                msg("found with a direction that is made"), where=unused[0], allowed=msg("with contrasting prompts")
            )
        saved = load_direction(options["direction"], opened.spec)
        if options["stack"] not in (None, saved.stack):
            raise InputError(
                msg("found {found}", found=shown(options["stack"])), where="stack", allowed=repr(saved.stack)
            )
        return _SteerRequest(opened, saved.stack, None, method, tokens, chat, saved)
    if options["pairs"]:
        for group, of_group in read_pairs(options["pairs"]).items():
            texts[group] += of_group
    stack = stack_of(opened.spec, options["stack"])[1]
    prompts = contrast_prompts(opened, texts, id_lists, chat=chat)
    check_prompts(opened.spec, prompts.ids, tokens, stack)
    return _SteerRequest(opened, stack, prompts, method, tokens, chat, None)


def _tokens(text: str) -> Tokens:
    """Return which tokens are read: 'last', 'all', or a slice from 'M:N'."""
    match = _SLICE.fullmatch(text)
    if match:
        start, stop = (int(part) if part else None for part in match.groups())
        return slice(start, stop)
    if text in ("last", "all"):
        return text  # type: ignore[return-value]
    raise InputError(msg("found {found}", found=shown(text)), where="tokens", allowed=msg("last, all, or M:N"))


def _strengths(text: str | None, *, project_out: bool) -> list[float]:
    """Return the strengths, 0 first if it is not among them; none if the direction is projected out."""
    if project_out:
        if text is not None:
            raise InputError(msg("both"), where="strength, project_out", allowed=msg("one of them"))
        return []
    try:
        strengths = [float(part) for part in (text or STRENGTHS).split(",")]
    except ValueError:
        raise InputError(
            msg("found {found}", found=shown(text)), where="strength", allowed=msg("numbers with commas between")
        ) from None
    if infinite := [value for value in strengths if not isfinite(value)]:
        raise InputError(msg("found {found}", found=infinite[0]), where="strength", allowed=msg("finite numbers"))
    return list(dict.fromkeys(strengths if 0.0 in strengths else [0.0, *strengths]))


def _input_ids(opened: ModelSource, prompt: str | None, ids: str | None, *, chat: bool) -> list[int]:
    from archcalc.interp.steer.prompts import text_ids

    if prompt is not None and ids is None:
        return text_ids(opened, prompt, "prompt", chat=chat)
    return one_prompt(opened, prompt, ids)


def _layers(text: str | None, request: _SteerRequest, from_layer: int | None) -> tuple[int, ...]:
    """Return the layers to steer, by default the middle one."""
    from archcalc.interp.steer.layers import check_layers

    known = range(request.n_layers)
    if from_layer is not None:
        check_layers([from_layer], known, "from_layer")
    if text is None:
        return (request.n_layers // 2,)
    if text == "all":
        return check_layers(None, known)
    allowed = msg("layers and ranges with commas between, such as 10-14,20, or all")
    return check_layers(number_ranges(text, "layers", allowed), known)


def _first_token(
    request: _SteerRequest, n_prompt: int, from_token: int | None, max_tokens: int, *, project_out: bool
) -> int:
    """Return the first position to steer. Raises InputError for one that no pass reads."""
    is_decoder = request.source.spec.family == "decoder"
    if from_token is None:
        return n_prompt - 1 if is_decoder and not project_out else 0
    last = n_prompt - 1 if request.stack == "encoder" else (n_prompt if is_decoder else 1) + max_tokens - 2
    if from_token > last:
        raise InputError(
            msg("found {found}", found=from_token),
            where="from_token",
            allowed=msg("0 to {last}, the last position that is read", last=last),
        )
    return from_token


def _workload(request: _SteerRequest, input_ids: list[int], max_tokens: int) -> Any:
    """Return the workload that memory is checked for: the generation, or the longest contrasting prompt."""
    from archcalc.run.decoding.generation import generation_workload
    from archcalc.spec.workload import Workload

    if input_ids:
        return generation_workload(request.source.spec, [input_ids], max_tokens)
    prompts = request.prompts.ids.values() if request.prompts else []
    longest = max((len(ids) for group in prompts for ids in group), default=1)
    if request.source.spec.family == "encoder-decoder":
        return Workload(batch=1, seq=1, source_seq=longest)
    return Workload(batch=1, seq=longest)


def _edits(
    direction: Direction,
    strengths: list[float],
    layers: tuple[int, ...],
    from_layer: int | None,
    first: int | None,
    *,
    project_out: bool,
) -> dict[float | None, tuple[Edit, ...]]:
    """Return the edits of each run by its strength; None is that of projecting out."""
    from archcalc.interp.steer.edits import steer

    at = None if first is None else slice(first, None)
    if project_out:
        return {0.0: (), None: steer(direction, project_out=True, layers=layers, from_layer=from_layer, at=at)}
    return {value: steer(direction, value, layers=layers, from_layer=from_layer, at=at) for value in strengths}


def _texts(
    loaded: LoadedModel,
    ids: list[int],
    plan: dict[float | None, tuple[Edit, ...]],
    *,
    max_tokens: int,
    sampling: Sampling,
    seed: int,
) -> list[SteeredRow]:
    """Return the row of every run, with a progress bar on a terminal."""
    from archcalc.interp.steer.result import steered_row
    from archcalc.interp.steer.texts import steered_text

    rows = []
    with progress_bar(max_tokens * len(plan), msg("generating")) as bar:
        for number, (strength, edits) in enumerate(plan.items(), 1):
            found = steered_text(
                loaded.model,
                ids,
                edits,
                max_tokens=max_tokens,
                sampling=sampling,
                seed=seed,
                eos_ids=loaded.source.eos_ids,
                start_id=loaded.source.start_id,
                progress=bar.update,
            )
            bar.update(number * max_tokens - bar.pos)
            rows.append(steered_row(loaded.source, found, strength))
    return rows
