"""The patterns of all attention heads over one text, and figures of each.

Axes: B batch, N heads, T tokens, S key tokens, H query and key width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archcalc.errors import InputError, shown
from archcalc.interp.heads.arms import AttentionArm, attention_arms, check_memory
from archcalc.interp.heads.effective import MixerArm, effective_attention, mixer_arms
from archcalc.interp.heads.kinds import KindScores, kind_scores
from archcalc.interp.learned_keys import learned_pairs
from archcalc.interp.model_inputs import model_inputs
from archcalc.nn.arm_cache import Pair
from archcalc.nn.mla import latent_scale
from archcalc.nn.taps import record
from archcalc.nn.taps.model_tap import canonical_spec
from archcalc.spec.attention import LatentAttention
from archcalc.words import msg


@dataclass(frozen=True)
class NeuronProducts:
    """The score of one query and one key: `products` sum to it, up to `rest` (bias, softcap).

    `products` [H] are scaled: query · key · scale, dimension by dimension, after norm and rotation.
    """

    query: Tensor
    key: Tensor
    products: Tensor
    score: float

    @property
    def rest(self) -> float:
        """Return what a bias and a softcap add to the sum of the products."""
        return self.score - float(self.products.sum())


@dataclass(frozen=True)
class AttentionReading:
    """The attention of a model over one text.

    By the path of each attention (`layers.3.attn`), in the order of a forward pass: `arms` says what it is, `patterns`
    has its weights [N, T, S], `scores` [N, T, S] is −∞ where the mask hides a key, `entropy_nats` and `distance` [N, T]
    are figures of each query, and `kinds` are measured on repeated random tokens (None: the context is too short).
    Where summaries of blocks are keys (LongT5), they follow the tokens; global tokens of a stack (PEGASUS-X) are
    queries and keys after those of the text. `global_pairs` has the queries and keys of
    global tokens (Longformer), which are the first ones. The rows of a soft prompt (CPM-Ant) are queries and keys
    before those of the text, learned keys (MVP) are before all others.
    Of a recurrent mixer, `patterns` and `scores` are its effective attention (`archcalc.interp.heads.effective`), which
    may be negative; it has no queries, keys and kinds.
    """

    arms: Mapping[str, AttentionArm | MixerArm]
    patterns: Mapping[str, Tensor]
    scores: Mapping[str, Tensor]
    queries: Mapping[str, Tensor]
    keys: Mapping[str, Tensor]
    global_pairs: Mapping[str, tuple[Tensor, Tensor]]
    kinds: KindScores | None

    def shares(self, path: str) -> Tensor:
        """Return the weights [N, T, S] as shares of a query: of a mixer, each size over the sum of all sizes."""
        pattern_NTS = self.patterns[path]
        if isinstance(self.arms[path], AttentionArm):
            return pattern_NTS
        sizes_NTS = pattern_NTS.abs()
        return sizes_NTS / sizes_NTS.sum(-1, keepdim=True).clamp(min=1e-30)

    def entropy_nats(self, path: str) -> Tensor:
        """Return the entropy of each query's shares [N, T], in float64; a learned sink is one more outcome."""
        p_NTS, part = self.shares(path).double(), getattr(self.arms[path], "part", None)
        rest_NT = (1 - p_NTS.sum(-1)).clamp(min=0) if getattr(part, "sinks", False) else None
        entropy_NT: Tensor = torch.special.entr(p_NTS).sum(-1)
        if rest_NT is not None:
            entropy_NT = entropy_NT + torch.special.entr(rest_NT)
        return entropy_NT

    def distance(self, path: str) -> Tensor | None:
        """Return the mean distance in tokens of query and key [N, T], by weight; None for cross-attention.

        Summaries, which stand for many tokens, and global tokens and prompts, which have no place, are left out.
        """
        if self.arms[path].is_cross:
            return None
        p_NTS, arm = self.shares(path).double(), self.arms[path]
        p_NTS = p_NTS[:, arm.n_lead : p_NTS.shape[1] - arm.n_more, arm.n_lead + arm.n_learned :]
        places_T = torch.arange(p_NTS.shape[1], device=p_NTS.device)
        p_NTS = p_NTS[..., : len(places_T)]
        far_TS = (places_T[:, None] - places_T).abs().double()
        return (p_NTS * far_TS).sum(-1) / p_NTS.sum(-1).clamp(min=1e-30)

    def products(self, path: str, head: int, query: int, key: int) -> NeuronProducts:
        """Return the score of one query position and one key position by dimension.

        Raises InputError for an unknown path, head or position, and for a recurrent mixer.
        """
        arm = self.arm(path, head)
        if not isinstance(arm, AttentionArm):
            problem = msg("a recurrent mixer has no queries and keys")
            raise InputError(problem, where=path, allowed=msg("the path of an attention"))
        for where, position, size in zip(("query", "key"), (query, key), self.scores[path].shape[1:], strict=True):
            if not 0 <= position < size:
                raise InputError(
                    msg("found {found}", found=position), where=where, allowed=msg("0 to {last}", last=size - 1)
                )
        q_NTH, k_KSH = self.queries[path], self.keys[path]
        if query < arm.n_global:
            q_NTH, k_KSH = self.global_pairs[path]
        q_H, k_H = q_NTH[head, query].double(), k_KSH[arm.kv_head(head), key].double()
        return NeuronProducts(q_H, k_H, q_H * k_H * _scale(arm), float(self.scores[path][head, query, key]))

    def arm(self, path: str, head: int = 0) -> AttentionArm | MixerArm:
        """Return an attention. Raises InputError for an unknown path or head."""
        if path not in self.arms:
            raise InputError(
                msg("found {found}", found=shown(path)), where="head", allowed=msg("one of {names}", names=self._paths)
            )
        n_heads = self.arms[path].n_heads
        if not 0 <= head < n_heads:
            raise InputError(
                msg("found {found}", found=head), where="head", allowed=msg("0 to {last}", last=n_heads - 1)
            )
        return self.arms[path]

    @property
    def _paths(self) -> str:
        first, *_, last = [*self.arms, *self.arms]
        return f"{first} … {last}"


@torch.inference_mode()
def attention(
    model: Any,
    ids: Sequence[int],
    target: Sequence[int] | None = None,
    *,
    with_kinds: bool = True,
    seed: int = 0,
    progress: Callable[[int], object] = lambda n: None,
) -> AttentionReading:
    """Return the patterns of all heads of all attentions over one text.

    `model` comes from `archcalc.load_model` or `archcalc.random_model`. An encoder-decoder reads `ids` as its source
    and `target` as the decoder's tokens; its encoder, decoder and cross-attention are all read, and mixers that have an
    effective attention. Patterns are what it
    weights values with: [N, T, S] for N query heads, T queries and S keys, each row with sum 1 (less the share of a
    learned sink). `with_kinds` measures the kind of each head on repeated random tokens drawn with `seed`
    (`archcalc.interp.heads.kinds`). `progress` is called with 1 after each of the two passes.

    Raises InputError for invalid ids, a packed model, and a model without attention; TooLargeError before memory runs
    out.
    """
    spec = canonical_spec(model)
    arms, mixers = list(attention_arms(spec)), list(mixer_arms(spec))
    if not arms and not mixers:
        problem = msg("has no attention, and no mixer with an effective one")
        raise InputError(problem, where=spec.name, allowed=msg("a model with attention"))
    texts = model_inputs(model, ids, target)
    names = [f"{arm.path}.{name}" for arm in arms for name in ("pattern", "scores", "q")]
    names += dict.fromkeys(f"{arm.key_path}.k" for arm in arms)
    with_global = [arm.path for arm in arms if arm.n_global]
    names += [f"{path}.{name}" for path in with_global for name in ("global_q", "global_k")]
    check_memory(model, [*names, *(site for mixer in mixers for site in mixer.site_names)], texts)
    recording = record(model, *texts, sites=names)
    effective = effective_attention(model, mixers, texts)
    progress(1)
    kinds = kind_scores(model, {arm.path: arm for arm in arms}, texts, seed) if with_kinds and arms else None
    progress(1)
    learned = learned_pairs(model)
    in_order: list[AttentionArm | MixerArm] = sorted([*arms, *mixers], key=lambda arm: (arm.text, arm.layer))
    return AttentionReading(
        {arm.path: arm for arm in in_order},
        effective | {arm.path: recording[f"{arm.path}.pattern"][0] for arm in arms},
        {path: _masked(weights_NTS) for path, weights_NTS in effective.items()}
        | {arm.path: recording[f"{arm.path}.scores"][0] for arm in arms},
        {arm.path: recording[f"{arm.path}.q"][0] for arm in arms},
        {arm.path: _with_learned(learned.get(arm.path), recording[f"{arm.key_path}.k"][0]) for arm in arms},
        {path: (recording[f"{path}.global_q"][0], recording[f"{path}.global_k"][0]) for path in with_global},
        kinds,
    )


def _with_learned(learned: Pair | None, k_KSH: Tensor) -> Tensor:
    """Return the keys of an attention after its learned ones, if it has any."""
    return k_KSH if learned is None else torch.cat((learned[0], k_KSH), 1)


def _masked(weights_NTS: Tensor) -> Tensor:
    """Return the weights with −∞ where a token is later than its reader."""
    is_later_TS = torch.ones(weights_NTS.shape[1:], dtype=torch.bool, device=weights_NTS.device).triu(1)
    return weights_NTS.masked_fill(is_later_TS, -torch.inf)


def _scale(arm: AttentionArm) -> float:
    if isinstance(arm.part, LatentAttention):
        return latent_scale(arm.part)
    return arm.part.score_scale
