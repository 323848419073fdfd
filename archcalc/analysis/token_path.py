"""The path of one token through a model: what each step computes for it, and which tokens that step reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

from archcalc.analysis.comparison import unique_names
from archcalc.errors import InputError
from archcalc.results import Field, Result, Row, Sureness, data, number, product, text
from archcalc.spec import Spec
from archcalc.spec.branches import active_branches
from archcalc.spec.groups import Group, groups
from archcalc.spec.layer import Arm
from archcalc.spec.model import Family, ModelStack, Role
from archcalc.spec.sites import Site, sites
from archcalc.spec.variants import variant
from archcalc.words import Message, in_context, msg

DEFAULT_TOKENS: Final = 6

TokenReads = Literal["token", "left", "all", "source", "text"]
READS: Final[dict[str, Message]] = {
    "token": msg("this token"),
    "left": msg("this token and those before it"),
    "all": msg("every token of its text"),
    "source": msg("every token of the source"),
    "text": msg("the state of the whole text"),
}


class TokenStep(Row, frozen=True, kw_only=True):
    """What one step computes for one token, without the batch.

    `path` is that of the first of `layer_indices`, `box` the part of the diagram that computes it. A step reads at most
    `window` tokens in a direction, its own included. `S` in `axes` are the tokens that it reads; `shape` has their
    number.
    """

    model: Annotated[str, data(msg("name of the model"))]
    path: Annotated[str, text(in_context("of a model", "site"))]
    box: Annotated[str, data(msg("part of the diagram"))]
    role: Annotated[Role, data(msg("stack"))]
    layer_indices: Annotated[tuple[int, ...], number(in_context("by number", "layers"), "ranges")]
    reads: Annotated[TokenReads, text(msg("reads"), names=READS)]
    window: Annotated[int | None, Field(heading=msg("window"), kind="words", shown="varied")]
    axes: Annotated[tuple[str, ...], product(msg("axes"))]
    shape: Annotated[tuple[int, ...], product(msg("shape"))]
    description: Annotated[str | Message, text(msg("what"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class ModelStructure(Row, frozen=True, kw_only=True):
    """A model whose token is followed."""

    name: Annotated[str, text(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    family: Annotated[Family, text(msg("family"))]
    output: Annotated[Message, text(msg("what comes out"))]


class TokenPaths(Result, frozen=True, kw_only=True):
    """The path of the token at `position`, of `n_tokens`, through each model.

    Of an encoder-decoder, it is that of a source token through the encoder, then that of a target token.
    """

    n_tokens: Annotated[int, data(msg("tokens of each text"))]
    position: Annotated[int, data(msg("position of the token"))]
    models: Annotated[tuple[ModelStructure, ...], data(msg("models"))]
    steps: Annotated[tuple[TokenStep, ...], data(msg("steps of the token in each model"))]


def token_paths(specs: Sequence[Spec], seq: int | None = None, position: int | None = None) -> TokenPaths:
    """Return the path of a token through each model, under names that differ.

    `seq`: tokens of each text (default: 6, or what fits). `position`: of the token (default: the third last).

    Raises InputError for no tokens, more than a model's context, and a position outside the text.
    """
    if not specs:
        raise InputError(msg("found none"), where="specs", allowed=msg("1 or more"))
    longest = min(model_stack.model.n_ctx for spec in specs for model_stack in spec.stacks)
    seq = min(DEFAULT_TOKENS, longest) if seq is None else seq
    if not 1 <= seq <= longest:
        raise InputError(msg("found {found}", found=seq), where="seq", allowed=msg("1 to {n:,}", n=longest))
    place = max(0, seq - 3) if position is None else position
    if not 0 <= place < seq:
        raise InputError(
            msg("found {found}", found=place), where="position", allowed=msg("0 to {last:,}", last=seq - 1)
        )
    named = list(zip(unique_names(specs), specs, strict=True))
    models = [
        ModelStructure(name=name, label=spec.label, family=spec.family, output=_output(spec)) for name, spec in named
    ]
    steps = [step for name, spec in named for step in _steps(spec, name, seq, place)]
    return TokenPaths(n_tokens=seq, position=place, models=tuple(models), steps=tuple(steps))


def _output(spec: Spec) -> Message:
    """Return what comes out at the end of a token's path."""
    if not spec.predicts_tokens:
        if spec.head is not None:
            return msg("a score for each label")
        return msg("a state of the whole text") if spec.reads_text else msg("a state of this token")
    if spec.decoder is not None:
        return msg("a score for each token that may come next")
    return msg("a score for each token that may be at this position")


def n_read(reads: TokenReads, window: int | None, n_tokens: int, position: int) -> int:
    """Return how many tokens a step reads.

    >>> n_read("left", None, 6, 3), n_read("left", 2, 6, 3), n_read("all", 2, 6, 3), n_read("source", None, 6, 3)
    (4, 2, 3, 6)
    """
    if reads in ("token", "text"):
        return 1
    if reads == "source":
        return n_tokens
    far = n_tokens if window is None else window - 1
    before = min(position, far)
    return before + 1 if reads == "left" else before + 1 + min(n_tokens - 1 - position, far)


def _steps(spec: Spec, name: str, n_tokens: int, position: int) -> Iterator[TokenStep]:
    by_name = {site.name: site for site in sites(spec)}
    for model_stack in spec.stacks:
        walk = _StackWalk(model_stack, name, n_tokens, position)
        yield walk.ids()
        yield walk.step(by_name[f"{model_stack.prefix}embed"], "embed")
        for group in groups(model_stack.stack):
            first = [site for site in by_name.values() if _is_of(site, model_stack.prefix, group.layer_indices[0])]
            yield from walk.layer(group, first)
        if final_norm := by_name.get(f"{model_stack.prefix}final_norm"):
            yield walk.step(final_norm, "final_norm")
    last = _StackWalk(spec.stacks[-1], name, n_tokens, position, prefix="")
    yield from (last.step(by_name[path], path) for path in ("pooled", "logits") if path in by_name)


def _is_of(site: Site, prefix: str, layer: int) -> bool:
    return site.name.startswith(f"{prefix}layers.{layer}.")


class _StackWalk:
    """The steps of a token in one stack."""

    def __init__(
        self, model_stack: ModelStack, model: str, n_tokens: int, position: int, prefix: str | None = None
    ) -> None:
        self.model_stack, self.model, self.n_tokens, self.position = model_stack, model, n_tokens, position
        self.prefix = model_stack.prefix if prefix is None else prefix

    def ids(self) -> TokenStep:
        """Return the step of the token's id."""
        description = msg("the id of the token")
        return self._row(f"{self.prefix}ids", "ids", (), "token", None, "", {}, description)

    def step(self, site: Site, box: str) -> TokenStep:
        """Return the step of a site outside the layers."""
        reads: TokenReads = "text" if "P" in site.axes else "token"
        return self._row(site.name, box, (), reads, None, site.axes, site.sizes, site.description)

    def layer(self, group: Group, first: Sequence[Site]) -> Iterator[TokenStep]:
        """Yield the steps of the first layer of a group; that it begins with the stream is no step."""
        path = f"{self.prefix}layers.{group.layer_indices[0]}."
        by_arm = {arm.name: arm for branch in active_branches(group.layer) for arm in branch.arms}
        for site in first:
            name = site.name.removeprefix(path)
            arm = by_arm.get(name.partition(".")[0]) if "." in name else None
            if name == "resid_pre":
                continue
            box = f"{path}{name.partition('.')[0]}".removeprefix(self.prefix)
            reads, window = self._reads(arm, site)
            axes, sizes = site.axes, site.sizes
            yield self._row(site.name, box, group.layer_indices, reads, window, axes, sizes, site.description)

    def _reads(self, arm: Arm | None, site: Site) -> tuple[TokenReads, int | None]:
        """Return which tokens a site of an arm reads: those along its key axis, and an output that mixes tokens."""
        if arm is None or not variant(arm.part).mixes_tokens:
            return "token", None
        is_mixed = site.name.rpartition(".")[2] in ("values", "out")
        if "S" not in site.axes and not is_mixed:
            return "token", None
        if arm.reads == "source":
            return "source", None
        return "left" if self.model_stack.is_causal else "all", getattr(arm.part, "window", None)

    def _row(
        self,
        path: str,
        box: str,
        layers: tuple[int, ...],
        reads: TokenReads,
        window: int | None,
        axes: str,
        sizes: dict[str, int],
        description: str | Message,
    ) -> TokenStep:
        own = tuple(axis for axis in axes if axis not in "BTP")
        keys = {"S": n_read(reads, window, self.n_tokens, self.position)}
        return TokenStep(
            model=self.model,
            path=path,
            box=f"{self.prefix}{box}",
            role=self.model_stack.role,
            layer_indices=layers,
            reads=reads,
            window=window,
            axes=own,
            shape=tuple((sizes | keys)[axis] for axis in own),
            description=description,
        )
