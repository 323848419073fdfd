"""Activation patching: the effect of restoring each part of a clean forward pass in a corrupted one.

Axes: B batch, T tokens, V vocab, R targets, P positions and all of them at once (T + 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.checks import check_ids, check_one_stream, check_position
from archcalc.interp.partial_pass import PartialPass, PassResult, PassStart
from archcalc.interp.patch.attribution import estimates, gradients
from archcalc.interp.patch.cells import Cell, batches, cells, is_equal, restorations
from archcalc.interp.patch.corruption import Noise, check_pair, noise_edits
from archcalc.interp.patch.metric import AnswerMetric
from archcalc.interp.patch.targets import COMPONENTS, Neuron, PatchTarget, targets
from archcalc.nn.taps import Edit
from archcalc.nn.taps.model_tap import canonical_spec
from archcalc.run.decoding.sampling import check_finite
from archcalc.run.devices import free_memory
from archcalc.run.loading.memory_check import check_fits
from archcalc.spec import Spec
from archcalc.spec.sites import sites
from archcalc.spec.workload import Workload
from archcalc.words import msg

Method = Literal["exact", "attribution", "both"]
# Rows of a batch and its tokens at most, and the bytes of recorded values that it aims at.
N_ROWS, N_BATCH_TOKENS, RECORDED_BYTES = 16, 1024, 256 * 2**20


@dataclass(frozen=True)
class EffectMap:
    """The effects of one component in one stack: a row for each target, a column for each position, last all at once.

    `values_RP` is the metric after restoring, `effects_RP` its share of the way from corrupted (0) to clean (1), both
    None without exact patching. `estimates_RP` are the effects that attribution patching estimates, None without it.
    Where clean and corrupted passes have the same metric, effects and estimates are NaN.
    """

    component: str
    stack: int
    targets: tuple[PatchTarget, ...]
    values_RP: Tensor | None  # noqa: N815
    effects_RP: Tensor | None  # noqa: N815
    estimates_RP: Tensor | None  # noqa: N815


@dataclass(frozen=True)
class Patching:
    """Effects of restoring a clean pass in a corrupted one.

    `texts` and `corrupted_texts` are the ids of each stack; `noise` is None for a corrupted prompt. `clean` and
    `corrupted` are the metric of each pass at `position` of the last text, and `clean_probabilities_V` and
    `corrupted_probabilities_V` its predictions there; with noise, those of the corrupted pass are means over samples.
    """

    texts: tuple[tuple[int, ...], ...]
    corrupted_texts: tuple[tuple[int, ...], ...]
    noise: Noise | None
    position: int
    metric: AnswerMetric
    clean: float
    corrupted: float
    clean_probabilities_V: Tensor  # noqa: N815
    corrupted_probabilities_V: Tensor  # noqa: N815
    maps: tuple[EffectMap, ...]

    def map(self, component: str, stack: int = -1) -> EffectMap:
        """Return the map of a component, of the last stack or of `stack`. Raises InputError if it was not computed."""
        index = stack % len(self.texts)
        for each in self.maps:
            if (each.component, each.stack) == (component, index):
                return each
        raise InputError(msg("was not patched"), where=component, allowed=", ".join(m.component for m in self.maps))


@torch.no_grad()
def patch(
    model: Any,
    clean: Sequence[int],
    corrupted: Sequence[int] | Noise,
    *,
    target: Sequence[int] | None = None,
    answer: int | None = None,
    wrong: int | None = None,
    position: int | None = None,
    components: Sequence[str] = COMPONENTS,
    neurons: Sequence[Neuron] = (),
    window: int = 1,
    method: Method = "both",
    progress: Callable[[int], object] | None = None,
) -> Patching:
    """Return the effect of restoring each component, layer by layer and position by position (causal tracing).

    `clean` and `corrupted` are prompts of equal length, or `corrupted` is noise on embeddings of the clean prompt (Meng
    et al. 2022, section 2.1). An encoder-decoder reads them as its source; `target` is the text that its decoder reads.
    The metric is the probability of the token `answer` (default: the likeliest after the clean prompt) at `position` of
    the last text (default: the last); with a `wrong` token, the difference of their logits.

    `components` are the residual stream, the outputs of attention and of feed-forwards, and the heads before the output
    projection; `neurons` are (layer, index) of hidden units. `window` layers of attention or feed-forward outputs are
    restored together. "attribution" estimates the effects from one backward pass (Nanda 2023); "both" computes exact
    effects too. `progress` is called with the number of exact cells that are done.

    Raises InputError for invalid prompts, tokens, positions, components and neurons, for a model that predicts no
    tokens, and for a packed model; TooLargeError if the recorded values do not fit.
    """
    spec = canonical_spec(model)
    texts, corrupted_texts = check_texts(spec, clean, corrupted, target)
    position = check_position(position, len(texts[-1]))
    all_targets = targets(spec, components, neurons, window=window)
    if not all_targets:
        raise InputError(msg("there are none in this model"), where="components", allowed=", ".join(COMPONENTS))
    n_rows = 1 if method == "attribution" else batch_rows(spec, texts, all_targets, model.embed.tokens.weight)
    names = {site.name for each in all_targets for site in each.sites}
    job = _Job(model, texts, corrupted_texts, position, n_rows, names)
    clean_pass = job.single_clean_pass
    check_finite(clean_pass.logits_BV.amax(-1))
    if answer is None:
        answer = int(clean_pass.logits_BV[0].argmax())
    metric = AnswerMetric(answer, wrong)
    metric.check(clean_pass.logits_BV.shape[-1])

    noise = corrupted if isinstance(corrupted, Noise) else None
    samples = [[]] if noise is None else [[edit] for edit in job.noise_edits(noise)]
    sums = _Sums(all_targets, [len(text) for text in texts])
    for corruption in samples:
        if method != "attribution":
            job.add_exact(sums, corruption, metric, progress)
        job.add_baseline(sums, corruption, metric, estimated=method != "exact")
    clean_value = float(metric(clean_pass.logits_BV)[0])
    return Patching(
        texts,
        corrupted_texts,
        noise,
        position,
        metric,
        clean_value,
        sums.corrupted / len(samples),
        clean_pass.logits_BV[0].double().softmax(-1).cpu(),
        sums.probabilities_V / len(samples),
        tuple(sums.maps(len(samples), method)),
    )


class _Sums:
    """Sums over the samples of noise, by target and position.

    `gains_RP` are changes of the metric from the corrupted pass of the same row of a batch, `totals_RP` those of the
    clean pass, so that equal values give exactly 0 and 1.
    """

    def __init__(self, all_targets: Sequence[PatchTarget], n_tokens: Sequence[int]) -> None:
        self.targets, self.n_tokens = all_targets, n_tokens
        shape = len(all_targets), 1 + max(n_tokens)
        self.values_RP, self.gains_RP, self.totals_RP, self.estimates_RP = (
            torch.zeros(shape, dtype=torch.float64) for _ in range(4)
        )
        self.corrupted, self.estimated_total, self.probabilities_V = 0.0, 0.0, torch.zeros(())

    def maps(self, n_samples: int, method: Method) -> list[EffectMap]:
        """Return the map of each component in each stack."""
        groups: dict[tuple[str, int], list[int]] = {}
        for row, target in enumerate(self.targets):
            groups.setdefault((target.component, target.stack), []).append(row)
        has_exact, has_estimates = method != "attribution", method != "exact"
        maps = []
        for (component, stack), rows in groups.items():
            columns = slice(1 + self.n_tokens[stack])
            values, gains, totals, estimated = (
                x_RP[rows, columns] for x_RP in (self.values_RP, self.gains_RP, self.totals_RP, self.estimates_RP)
            )
            maps.append(
                EffectMap(
                    component,
                    stack,
                    tuple(self.targets[row] for row in rows),
                    values / n_samples if has_exact else None,
                    _ratio(gains, totals) if has_exact else None,
                    _ratio(estimated, torch.full_like(estimated, self.estimated_total)) if has_estimates else None,
                )
            )
        return maps


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole == 0, torch.nan, part / whole)


class _Job:
    """The passes of one patching; the clean one runs at once."""

    def __init__(
        self,
        model: Any,
        texts: Sequence[Sequence[int]],
        corrupted_texts: Sequence[Sequence[int]],
        position: int,
        n_rows: int,
        names: set[str],
    ) -> None:
        self.stacks, self.n_rows, self.names = model.spec.stacks, n_rows, names
        self.pre_names = {site.name for site in sites(model.spec) if site.name.endswith(".resid_pre")}
        self.clean = PartialPass(model, texts, position, n_rows)
        self.corrupted = PartialPass(model, corrupted_texts, position, n_rows)
        # Estimates need one row. Passes of other batch sizes may round differently.
        self.single = PartialPass(model, corrupted_texts, position, 1)
        self.embed = f"{self.stacks[0].prefix}embed"
        self.clean_pass = self.clean(read={*names, self.embed})
        self.single_clean_pass = self.clean_pass if n_rows == 1 else PartialPass(model, texts, position, 1)(read=names)

    def noise_edits(self, noise: Noise) -> list[Edit]:
        """Return the edit of each sample of noise, on the first text."""
        noise.check(self.clean.ids[0].shape[1])
        return noise_edits(noise, self.stacks[0].prefix, self.clean_pass.recording[self.embed][0])

    def add_exact(
        self, sums: _Sums, corruption: list[Edit], metric: AnswerMetric, progress: Callable[[int], object] | None
    ) -> None:
        """Add what restoring each cell gives, in batches that begin at the first layer that they change.

        Cells with equal values in both passes change nothing and are not run.
        """
        base, clean = self.corrupted(corruption, self.pre_names | self.names), self.clean_pass.recording
        clean_B, corrupted_B = metric(self.clean_pass.logits_BV).cpu(), metric(base.logits_BV).cpu()
        changed: list[Cell] = []
        unchanged: list[Cell] = []
        for cell in cells(sums.targets, sums.n_tokens):
            (unchanged if is_equal(cell, clean, base.recording) else changed).append(cell)
        rows, columns = [cell.row for cell in unchanged], [cell.column for cell in unchanged]
        sums.values_RP[rows, columns] += corrupted_B[0]
        sums.totals_RP[rows, columns] += (clean_B - corrupted_B)[0]
        if progress is not None:
            progress(len(unchanged))
        for batch in batches(changed, self.n_rows):
            edits = restorations(batch, clean)
            values_B = metric(self.corrupted(edits, start=self._start(base, batch)).logits_BV).cpu()
            rows, columns = [cell.row for cell in batch], [cell.column for cell in batch]
            n = len(batch)
            sums.values_RP[rows, columns] += values_B[:n]
            sums.gains_RP[rows, columns] += (values_B - corrupted_B)[:n]
            sums.totals_RP[rows, columns] += (clean_B - corrupted_B)[:n]
            if progress is not None:
                progress(n)

    def _start(self, base: PassResult, batch: Sequence[Cell]) -> PassStart:
        stack = batch[0].target.stack
        layer = self.corrupted.first_layer(stack, min(cell.target.first_layer for cell in batch))
        states_BTD = base.recording[f"{self.stacks[stack].prefix}layers.{layer}.resid_pre"]
        return PassStart(stack, layer, states_BTD, base.source_BSD if stack else None)

    def add_baseline(self, sums: _Sums, corruption: list[Edit], metric: AnswerMetric, *, estimated: bool) -> None:
        """Add the corrupted pass itself and, with `estimated`, the estimates of every cell."""
        if estimated:
            corrupted, grads = gradients(self.single, corruption, metric, sorted(self.names))
            logits_BV = corrupted.logits
            for row, target in enumerate(sums.targets):
                by_position = estimates(target, self.single_clean_pass.recording, corrupted, grads)
                sums.estimates_RP[row, : len(by_position)] += by_position
                sums.estimates_RP[row, len(by_position)] += by_position.sum()
        else:
            logits_BV = self.single(corruption).logits_BV
        logits_V = logits_BV[0].detach().cpu()
        check_finite(logits_V.amax(-1, keepdim=True))
        value = float(metric(logits_BV.detach())[0])
        sums.probabilities_V = sums.probabilities_V + logits_V.double().softmax(-1)
        sums.corrupted += value
        sums.estimated_total += float(metric(self.single_clean_pass.logits_BV)[0]) - value


def n_cells(spec: Spec, n_tokens: Sequence[int], components: Sequence[str], neurons: Sequence[Neuron] = ()) -> int:
    """Return the number of cells of a patching with one sample; `n_tokens` are those of each stack's text."""
    return sum(1 + n_tokens[each.stack] for each in targets(spec, components, neurons))


def batch_rows(
    spec: Spec, texts: Sequence[Sequence[int]], all_targets: Sequence[PatchTarget], like: Tensor, n_rows: int = N_ROWS
) -> int:
    """Return how many cells run in one batch, which records values of two passes.

    Raises TooLargeError if the recorded values of one cell do not fit.
    """
    by_name = {site.name: site for target in all_targets for site in target.sites}
    by_name |= {site.name: site for site in sites(spec) if site.name.endswith(".resid_pre")}
    n_target = len(texts[-1])
    work = (
        Workload(batch=1, seq=n_target, source_seq=len(texts[0]))
        if len(texts) == 2
        else Workload(batch=1, seq=n_target)
    )
    row_bytes = 2 * like.element_size() * sum(prod(site.shape(work) or ()) for site in by_name.values())
    problem = msg("patching records {needed}; {free_bytes} are free on {type}", type=like.device.type)
    check_fits(row_bytes, free_memory(like.device), problem)
    return max(1, min(n_rows, N_BATCH_TOKENS // max(map(len, texts)), RECORDED_BYTES // row_bytes))


def check_texts(
    spec: Spec, clean: Sequence[int], corrupted: Sequence[int] | Noise, target: Sequence[int] | None
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """Return the ids of each stack's text, clean and corrupted. Raises InputError as `patch` does; needs no weights."""
    check_one_stream(spec)
    if (target is not None) != (len(spec.stacks) == 2):
        raise InputError(
            msg("reads a source and a target") if target is None else msg("found for a model with one stack"),
            where=spec.name if target is None else "target",
            allowed=msg("both") if target is None else msg("no value"),
        )
    source = clean if isinstance(corrupted, Noise) else corrupted
    check_ids(spec.stacks[0], list(clean), "clean")
    check_ids(spec.stacks[0], list(source), "corrupted")
    check_pair(clean, source)
    if target is None:
        return (tuple(clean),), (tuple(source),)
    check_ids(spec.stacks[-1], list(target), "target")
    return (tuple(clean), tuple(target)), (tuple(source), tuple(target))
