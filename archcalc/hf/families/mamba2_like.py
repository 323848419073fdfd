"""Decoders with Mamba-2's state space alone: Mamba-2."""

from collections.abc import Iterator
from typing import Any, final

import msgspec

from archcalc.hf.config import MAX_NUMBER, SIZE, Config, ValueType
from archcalc.hf.families.mamba_like import MAMBA, MAMBA_IRRELEVANT, SILU, UNBOUNDED, mixer_tensors
from archcalc.hf.family import derive
from archcalc.hf.lens import ConfigDraft, ConfigLens, ImpliedValue, Key, MismatchError
from archcalc.hf.tensors import module, modules
from archcalc.hf.vocabulary import flag, keys, rmsnorm, size

WIDTH = ValueType(lambda value: value == "auto" or SIZE.allows(value), "auto, or an integer")
# How a file may write that there is no limit: in JSON, which has no infinity, or otherwise.
_UNLIMITED: tuple[Any, ...] = (float("inf"), "inf", "Infinity", {"__float__": "Infinity"})


def _is_limit(value: Any) -> bool:
    return value in _UNLIMITED or (type(value) in (int, float) and value >= 0)


LIMITS = ValueType(
    lambda value: isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_limit, value)),
    "a list of two numbers ≥ 0, the smallest and the largest step",
)


@final
class StepLimit(ConfigLens, msgspec.Struct, frozen=True):
    """The smallest (`index` 0) or the largest step of a list of both; None if it limits nothing."""

    index: int
    key: Key = Key("time_step_limit", LIMITS, (0.0, float("inf")))

    def names(self) -> Iterator[str]:
        """Yield the key's spellings."""
        yield from self.key.names()

    def read(self, config: Config) -> float | None:
        """Return the limit."""
        limit = self.key.read(config)[self.index]
        return None if limit in _UNLIMITED or limit == 0 or limit > MAX_NUMBER else limit

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the list with this limit, beside the other one."""
        if value is not None:
            limits = [*draft.get(self.key.name, (0.0, float("inf")))]
            limits[self.index] = value
            draft[self.key.name] = limits


@final
class HeadWidth(ConfigLens, msgspec.Struct, frozen=True):
    """The width of a head, which must be expand · width / n_heads; "auto": it is."""

    key: Key
    expand: Key
    n_heads: Key
    width: Key

    def names(self) -> Iterator[str]:
        """Yield the spellings of the key and of `expand`."""
        yield from (*self.key.names(), *self.expand.names())

    def read(self, config: Config) -> int:
        """Return the width. Raises InputError unless the heads together are as wide as `expand` says."""
        stated, n_heads = self.key.read(config), int(self.n_heads.read(config))
        d_inner = int(self.expand.read(config)) * int(self.width.read(config))
        if d_inner % n_heads:
            expected = f"a divisor of {self.expand.name} · {self.width.name}, {d_inner}"
            raise config.error(self.n_heads.name, n_heads, expected)
        if stated not in ("auto", d_inner // n_heads):
            expected = f"{self.expand.name} · {self.width.name} / {self.n_heads.name}, {d_inner // n_heads}"
            raise config.error(self.key.name, stated, expected)
        return d_inner // n_heads

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the key and `expand`. The number of heads and the model's width must be in the draft already."""
        d_inner, width = value * draft[self.n_heads.name], draft[self.width.name]
        if d_inner % width:
            raise MismatchError(self.key.name)
        draft.put(self.key.name, value)
        draft.put(self.expand.name, d_inner // width)


STEP_LIMITS = {"step_min": StepLimit(0), "step_max": StepLimit(1)}
MAMBA2_HEADS = size("num_heads", 128)
# The modules of a Mamba-2 mixer in transformers' classes, and its tensors without a module.
MAMBA2_TENSORS = {"mixer.in": "in_proj", "mixer.conv": "conv1d", "mixer.norm": "norm", "mixer.out": "out_proj"}
MAMBA2_VECTORS = ("A_log", "D", "dt_bias")

MAMBA2 = derive(
    MAMBA,
    "mamba2",
    "Mamba2ForCausalLM",
    vocab=32768,
    n_ctx=ImpliedValue(UNBOUNDED),
    width=4096,
    depth=64,
    tie=False,
    mixers={
        "layer": {
            "kind": "mamba2",
            "n_heads": MAMBA2_HEADS,
            "d_head": HeadWidth(size("head_dim", 64), size("expand", 2), MAMBA2_HEADS, size("hidden_size", 4096)),
            "n_groups": size("n_groups", 8),
            "d_state": size("state_size", 128),
            "d_conv": size("conv_kernel", 4),
            "chunk": size("chunk_size", 256),
            **STEP_LIMITS,
            "bias": flag("use_bias", False),
            "conv_bias": flag("use_conv_bias", True),
            "norm": rmsnorm(1e-5, "layer_norm_epsilon"),
        }
    },
    constraints=(SILU,),
    irrelevant=MAMBA_IRRELEVANT - {"expand"} | keys("time_step_rank"),
    tensors=(
        modules({"embed.tokens": "embeddings", "final_norm": "norm_f"}, name="backbone."),
        module("head", "lm_head"),
        module("layers.{i}.mixer_norm", "backbone.layers.{i}.norm"),
        mixer_tensors("backbone.layers.{i}.mixer.", MAMBA2_TENSORS, *MAMBA2_VECTORS),
    ),
)

FAMILIES = (MAMBA2,)
