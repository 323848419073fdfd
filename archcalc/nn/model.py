"""Whole models: one stack, or an encoder and a decoder.

Axes: B batch, T tokens, S the source's tokens, D model, V vocab.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from archcalc.errors import InputError
from archcalc.nn.cache import Cache, allocate
from archcalc.nn.embedding import Embedding
from archcalc.nn.extra_tensors import ExtraTensors
from archcalc.nn.head import Head
from archcalc.nn.padding import check_padding, check_source_padding
from archcalc.nn.pooler import Pooler
from archcalc.nn.stack import Layers
from archcalc.nn.taps.points import observed_pass, set_token_context, tap
from archcalc.spec import Spec
from archcalc.words import msg


class SingleStack(Layers):
    """A decoder (causal) or an encoder (bidirectional) with its embedding and its head, if it has one."""

    embed: Embedding
    head: Head | None
    pooler: Pooler | None

    def __init__(self, spec: Spec) -> None:
        (stack,) = spec.stacks
        super().__init__(stack)
        self.spec = spec
        self.embed = Embedding(spec)
        self.head = Head(spec.head, spec) if spec.head else None
        self.pooler = Pooler(spec.pooler, spec) if spec.pooler else None
        self.extras = ExtraTensors(spec.extras, spec)

    def forward(
        self,
        ids_BT: Tensor,
        *,
        token_types_BT: Tensor | None = None,
        rows: Mapping[str, Tensor] | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
        padding_BT: Tensor | None = None,
        prefix_BT: Tensor | None = None,
        n_logits: int | None = None,
    ) -> Tensor:
        """Return logits [B, T, V] of token ids [B, T]; without a head, the last states [B, T, D].

        A labels head gives [B, T, labels] or, for whole texts, [B, labels]; a pooler without a head gives [B, D].
        `rows` are row indices [B, T] of the embedding's further tables, by name. `positions` [T] default to 0 … T − 1.
        With a `cache` they follow its tokens, it is extended, and no graph is kept for gradients. `padding_BT` is True
        at padding, before or after a row's tokens (with a cache, which remembers it, only before): positions count from
        a row's first token, no token attends to padding, and the outputs at padding are meaningless. `prefix_BT` is
        True at tokens that see each other in both directions, if the spec has a `prefix`; they are marked in the pass
        that begins the text. `n_logits` limits the output to the last positions. Raises InputError for tokens beyond
        the cache's capacity, and for padding between tokens.
        """
        self._check_prefix(prefix_BT, ids_BT, cache)
        if positions is not None and (cache is not None or padding_BT is not None or self.soft_prompt is not None):
            found = msg("a cache, or padding, already says where the tokens start")
            raise InputError(found, where="positions", allowed=msg("no value"))
        check_n_logits(self.spec, n_logits)
        padding_BT = check_padding(padding_BT, ids_BT)
        with _grad_mode(cache), observed_pass(self):
            states_BTD = self._states(ids_BT, token_types_BT, positions, cache, padding_BT, rows, prefix_BT)
            return _outputs(self, self.apply_final_norm(_last_states(states_BTD, n_logits)), padding_BT)

    def _check_prefix(self, prefix_BT: Tensor | None, ids_BT: Tensor, cache: Cache | None) -> None:
        """Raise InputError for a prefix that the model has not, of another shape, or after other tokens."""
        if prefix_BT is None:
            return
        stack = self.spec.stacks[0].stack
        if not stack.prefix or prefix_BT.shape != ids_BT.shape or (cache is not None and cache.past):
            raise InputError(
                msg("found a mask of shape {shape}", shape=list(prefix_BT.shape)),
                where="prefix",
                allowed=msg("one as the first ids, for a model with a prefix"),
            )

    def new_cache(
        self,
        batch: int,
        capacity: int,
        *,
        dtype: torch.dtype | None = None,
        format: str | None = None,  # noqa: A002
        device: str | torch.device | None = None,
    ) -> Cache:
        """Return an empty cache for `batch` sequences of up to `capacity` tokens.

        By default in the weights' dtype and on their device; stored as `format` if given. Raises InputError as
        `allocate` does.
        """
        return _new_cache(self, batch, capacity, None, dtype, format, device)

    def multi_token_logits(self, ids_BT: Tensor) -> list[Tensor]:
        """Return, for each multi-token module m, logits [B, T − 1 − m, V]: at t, of token t + 2 + m."""
        positions_T = _next_positions(ids_BT)
        with observed_pass(self):
            states_BTD = self._states(ids_BT, None, None, None, None)
        return [_outputs(self, x) for x in self.mtp_states(self.embed, ids_BT, states_BTD, positions_T, None)]

    def _states(
        self,
        ids_BT: Tensor,
        types_BT: Tensor | None,
        positions: Tensor | None,
        cache: Cache | None,
        padding_BT: Tensor | None,
        rows: Mapping[str, Tensor] | None = None,
        prefix_BT: Tensor | None = None,
    ) -> Tensor:
        positions_T = _next_positions(ids_BT, cache, padding_BT) if positions is None else positions
        prompt = self.soft_prompt if cache is None or not cache.past else None
        if prompt is not None:
            positions_T = torch.arange(prompt.n_tokens + len(positions_T), device=positions_T.device)
            padding_BR = prompt.with_padding(padding_BT)
            if cache is not None and cache.padding is not None:
                cache.padding = padding_BR
        else:
            padding_BR = padding_BT
        if cache is None:
            context = self.layer_context(
                positions_T, is_in_order=positions is None, padding_BT=padding_BR, prefix_BT=prefix_BT
            )
        else:
            context = self.cached_context(cache, positions_T, prefix_BT)
        set_token_context(context.own)
        x_BTD = self.input_states(self.embed, ids_BT, types_BT, context.own.token_positions, rows, padding_BT)
        context = self.with_tokens(context, ids_BT, x_BTD)
        if self.soft_prompt is None:
            return self.run(x_BTD, context, cache)
        if prompt is None:
            return tap(f"{self.prefix}text", self.run(x_BTD, context, cache))
        states_BRD = self.run(prompt.before(x_BTD, self.embed), context, cache)
        return tap(f"{self.prefix}text", prompt.text(states_BRD))


class EncoderDecoder(nn.Module):
    """A bidirectional encoder, and a causal decoder that attends to it (Vaswani et al. 2017, section 3.1)."""

    head: Head | None

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.embed = Embedding(spec)
        self.encoder, self.decoder = map(Layers, spec.stacks)
        self.head = Head(spec.head, spec) if spec.head else None
        self.extras = ExtraTensors(spec.extras, spec)

    def forward(
        self,
        source_ids_BS: Tensor | None,
        target_ids_BT: Tensor | None = None,
        *,
        cache: Cache | None = None,
        source_padding_BS: Tensor | None = None,
        n_logits: int | None = None,
    ) -> Tensor:
        """Return logits [B, T, V] of the target's ids [B, T] and the source's [B, S]; without a head, states [B, T, D].

        With a `cache` that has read its source, `model(ids, cache=cache)` or `model(None, ids, cache=cache)` reads the
        target's next ids: only the decoder runs, and no graph is kept for gradients. `source_padding_BS` is True at
        padding of the source, which the cache remembers; `n_logits` limits the output to the target's last positions.
        Raises InputError for tokens beyond the cache's capacity, and for padding between tokens.
        """
        check_n_logits(self.spec, n_logits)
        source_ids_BS, target_ids_BT = _source_and_target(source_ids_BS, target_ids_BT, cache)
        if source_ids_BS is None and source_padding_BS is not None:
            raise InputError(msg("the cache knows its source's"), where="source_padding", allowed=msg("no value"))
        with _grad_mode(cache), observed_pass(self):
            source_BSD = None
            if source_ids_BS is not None:
                source_padding_BS = _checked_source_padding(source_padding_BS, source_ids_BS)
                source_BSD = self._encode(source_ids_BS, source_padding_BS, cache)
            states_BTD = self._states(target_ids_BT, source_BSD, cache, source_padding_BS)
            return _outputs(self, self.decoder.apply_final_norm(_last_states(states_BTD, n_logits)))

    def encode(
        self, source_ids_BS: Tensor, *, cache: Cache | None = None, source_padding_BS: Tensor | None = None
    ) -> Tensor:
        """Return the encoder's states [B, S, D], which every cross-attention reads.

        A `cache` stores the decoder's keys and values of them and their padding, and is reset: the target's next token
        is its first.
        """
        with _grad_mode(cache), observed_pass(self):
            return self._encode(source_ids_BS, _checked_source_padding(source_padding_BS, source_ids_BS), cache)

    def _encode(self, source_ids_BS: Tensor, padding_BS: Tensor | None, cache: Cache | None) -> Tensor:
        if cache is not None:
            cache.admit_source(source_ids_BS)
        context = self.encoder.layer_context(_next_positions(source_ids_BS), padding_BT=padding_BS)
        set_token_context(context.own)
        embed = self.embed if self.encoder.embed is None else self.encoder.embed
        x_BSD = self.encoder.input_states(
            embed, source_ids_BS, None, context.own.token_positions, padding_BT=padding_BS
        )
        context = self.encoder.with_tokens(context, source_ids_BS, x_BSD)
        states_BSD = self.encoder.apply_final_norm(self.encoder.run(x_BSD, context))
        if cache is not None:
            self.decoder.cache_source(states_BSD, cache, padding_BS)
        return states_BSD

    def new_cache(
        self,
        batch: int,
        capacity: int,
        *,
        source: int | None = None,
        dtype: torch.dtype | None = None,
        format: str | None = None,  # noqa: A002
        device: str | torch.device | None = None,
    ) -> Cache:
        """Return an empty cache for `batch` targets of up to `capacity` tokens and sources of up to `source` tokens.

        By default in the weights' dtype and on their device; stored as `format` if given. `source` defaults to
        `capacity`. Raises InputError as `allocate` does.
        """
        return _new_cache(self, batch, capacity, source, dtype, format, device)

    def multi_token_logits(self, source_ids_BS: Tensor, target_ids_BT: Tensor) -> list[Tensor]:
        """Return, for each multi-token module m, logits [B, T − 1 − m, V]: at t, of token t + 2 + m."""
        source_BSD, positions_T = self.encode(source_ids_BS), _next_positions(target_ids_BT)
        with observed_pass(self):
            states_BTD = self._states(target_ids_BT, source_BSD, None, None)
        states = self.decoder.mtp_states(self.embed, target_ids_BT, states_BTD, positions_T, source_BSD)
        return [_outputs(self, x_BTD) for x_BTD in states]

    def _states(
        self,
        target_ids_BT: Tensor,
        source_BSD: Tensor | None,
        cache: Cache | None,
        source_padding_BS: Tensor | None,
    ) -> Tensor:
        decoder, positions_T = self.decoder, _next_positions(target_ids_BT, cache)
        if cache is None:
            context = decoder.layer_context(positions_T, source_BSD, source_padding_BS=source_padding_BS)
        else:
            context = decoder.cached_context(cache, positions_T)
        set_token_context(context.own)
        x_BTD = decoder.input_states(self.embed, target_ids_BT, None, positions_T)
        return decoder.run(x_BTD, decoder.with_tokens(context, target_ids_BT, x_BTD), cache)


def _new_cache(
    model: SingleStack | EncoderDecoder,
    batch: int,
    capacity: int,
    source: int | None,
    dtype: torch.dtype | None,
    format: str | None,  # noqa: A002
    device: str | torch.device | None,
) -> Cache:
    weight = model.embed.tokens.weight
    if isinstance(model, SingleStack):
        capacity += model.n_lead
    if format is None and dtype is None:
        dtype = weight.dtype
    device = weight.device if device is None else device
    return allocate(model.spec, batch, capacity, source=source, dtype=dtype, format=format, device=device)


def _grad_mode(cache: Cache | None) -> AbstractContextManager[object]:
    """Return torch.no_grad() with a cache, which holds no graph."""
    return nullcontext() if cache is None else torch.no_grad()


def _source_and_target(
    source_ids_BS: Tensor | None, target_ids_BT: Tensor | None, cache: Cache | None
) -> tuple[Tensor | None, Tensor]:
    """Return the source's and the target's ids; one tensor alone is the target of a cache with a source."""
    if target_ids_BT is None:
        source_ids_BS, target_ids_BT = None, source_ids_BS
    if target_ids_BT is None:
        raise InputError(msg("there are no ids"), where="target", allowed=msg("ids"))
    if source_ids_BS is None and cache is None:
        raise InputError(
            msg("there is nothing to attend to"), where="source", allowed=msg("a source, or a cache of one")
        )
    return source_ids_BS, target_ids_BT


def _checked_source_padding(padding_BS: Tensor | None, ids_BS: Tensor) -> Tensor | None:
    padding_BS = check_padding(padding_BS, ids_BS, "source_padding")
    check_source_padding(padding_BS)
    return padding_BS


def _last_states(x_BTD: Tensor, n_logits: int | None) -> Tensor:
    """Return the states of the last `n_logits` positions; all if None."""
    if n_logits is None:
        return x_BTD
    if n_logits < 1:
        raise InputError(msg("found {found}", found=n_logits), where="n_logits", allowed=msg("1 or more"))
    return x_BTD[:, -n_logits:]


def _next_positions(ids_BT: Tensor, cache: Cache | None = None, padding_BT: Tensor | None = None) -> Tensor:
    """Return 0 … T − 1; with a cache, the positions after its tokens."""
    if cache is None:
        return torch.arange(ids_BT.shape[1], device=ids_BT.device)
    cache.admit(ids_BT, padding_BT)
    return torch.arange(cache.past, cache.past + ids_BT.shape[1], device=ids_BT.device)


def check_n_logits(spec: Spec, n_logits: int | None) -> None:
    """Raise InputError if `n_logits` is set and the model returns one state of a whole text."""
    if n_logits is not None and spec.reads_text:
        raise InputError(
            msg("found {found}", found=n_logits),
            where="n_logits",
            allowed=msg("no value: the whole text is read as one"),
        )


def _outputs(model: SingleStack | EncoderDecoder, x_BTD: Tensor, padding_BT: Tensor | None = None) -> Tensor:
    """Return the output of the model's pooler and head; the states if it has neither."""
    if isinstance(model, SingleStack) and model.pooler is not None:
        x_BTD = tap("pooled", model.pooler(x_BTD, padding_BT))
    if model.head is not None:
        x_BTD = tap("logits", model.head(x_BTD, model.embed.tokens.weight, padding_BT))
    return x_BTD.squeeze(1) if model.spec.reads_text else x_BTD
