"""Decoders with a matrix memory: xLSTM."""

from collections.abc import Iterator
from typing import Any, final

import msgspec

from archcalc.hf.config import POSITIVE, SIZE, Config
from archcalc.hf.families.mamba_like import UNBOUNDED
from archcalc.hf.lens import ConfigDraft, ConfigLens, Constraint, ImpliedValue, Key
from archcalc.hf.spellings import Spelling
from archcalc.hf.templates.decoder import decoder
from archcalc.hf.tensors import module, modules
from archcalc.hf.vocabulary import flag, keys, layers, positive, rmsnorm, size

WIDTH, N_HEADS = size("hidden_size", 4096, aliases=("embedding_dim",)), size("num_heads", 8)
USE_BIAS = flag("use_bias", False)


def _share(total: int, width: int) -> float:
    """Return a factor of `width` that gives `total`, rounded down."""
    factor = total / width
    return factor if int(width * factor) == total else (total + 0.5) / width


@final
class HeadShare(ConfigLens, msgspec.Struct, frozen=True):
    """The width of a head, of which all together have a share of the model's width, rounded down."""

    factor: Key

    def names(self) -> Iterator[str]:
        """Yield the key of the share."""
        yield from self.factor.names()

    def read(self, config: Config) -> int:
        """Return the width. Raises InputError unless the heads divide that of all."""
        factor, n_heads = self.factor.read(config), int(N_HEADS.read(config))
        total = int(WIDTH.read(config) * factor)
        if not total or total % n_heads:
            raise config.error(self.factor.name, factor, f"a share of hidden_size that num_heads, {n_heads}, divides")
        return total // n_heads

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the share. The number of heads and the model's width must be in the draft."""
        draft.put(self.factor.name, _share(value * draft[N_HEADS.name], draft[WIDTH.name]))


@final
class RoundedUp(ConfigLens, msgspec.Struct, frozen=True):
    """The width of the feed-forward: the model's times a factor, rounded up to a multiple."""

    factor: Key = Key("ffn_proj_factor", POSITIVE, 2.667)
    multiple: Key = Key("ffn_round_up_to_multiple_of", SIZE, 64)

    def names(self) -> Iterator[str]:
        """Yield both keys."""
        yield from (*self.factor.names(), *self.multiple.names())

    def read(self, config: Config) -> int:
        """Return the width."""
        multiple = int(self.multiple.read(config))
        return int((WIDTH.read(config) * self.factor.read(config) + multiple - 1) // multiple) * multiple

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put a factor that needs no rounding."""
        draft.put(self.factor.name, _share(value, draft[WIDTH.name]))
        draft.put(self.multiple.name, 1)


BLOCK = "backbone.blocks.{i}."
XLSTM = decoder(
    "xlstm",
    "xLSTMForCausalLM",
    vocab=50304,
    n_ctx=ImpliedValue(UNBOUNDED),
    depth=layers(32, aliases=("num_blocks",)),
    model_fields={"d_model": WIDTH},
    norm=rmsnorm(1e-6, "norm_eps", bias=USE_BIAS),
    head={"tied": False, "softcap": positive("output_logit_soft_cap", 30.0)},
    stack_fields={"final_norm": rmsnorm(1e-6, "norm_eps")},
    mixers={
        "layer": {
            "kind": "mlstm",
            "n_heads": N_HEADS,
            "d_key": HeadShare(positive("qk_dim_factor", 0.5)),
            "d_value": HeadShare(positive("v_dim_factor", 1.0)),
            "chunk": size("chunk_size", 64),
            "gate_cap": positive("gate_soft_cap", 15.0),
            "bias": USE_BIAS,
            "norm": {"kind": "layernorm", "eps": positive("norm_eps", 1e-6), "bias": USE_BIAS},
            "eps": positive("eps", 1e-6),
        }
    },
    base_ffn={"kind": "gated", "d_ff": RoundedUp(), "activation": "silu", "bias": USE_BIAS},
    dropouts={},
    constraints=(Constraint("weight_mode", ("single",)),),
    # Kernels, dtypes and chunks that change no result. The class has its last norm always, and never ties.
    irrelevant=keys(
        "tie_word_embeddings add_out_norm norm_reduction_force_float32 chunkwise_kernel sequence_kernel step_kernel "
        "mode return_last_states autocast_kernel_dtype inference_state_dtype max_inference_chunksize"
    ),
    tensors=(
        modules({"embed.tokens": "embeddings", "final_norm": "out_norm"}, name="backbone."),
        module("head", "lm_head"),
        modules({"mixer_norm": "norm_mlstm", "ffn_norm": "norm_ffn"}, "layers.{i}.", BLOCK),
        modules(
            {
                "q": "q",
                "k": "k",
                "v": "v",
                "gate": "ogate_preact",
                "write_gate": "igate_preact",
                "keep_gate": "fgate_preact",
                "norm": "multihead_norm",
                "out": "out_proj",
            },
            "layers.{i}.mixer.",
            f"{BLOCK}mlstm_layer.",
        ),
        modules({"gate": "proj_up_gate", "up": "proj_up", "down": "proj_down"}, "layers.{i}.ffn.", f"{BLOCK}ffn."),
    ),
    spelling=Spelling(),
)

FAMILIES = (XLSTM,)
