"""DBRX: a mixture of experts with clipped queries, keys and values; its parts have mappings of keys of their own."""

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import POSITIVE, Config
from archcalc.hf.family import Family
from archcalc.hf.gguf_map import BLOCK, FUSED_QKV, KV_HEADS, NORM_EPS, UNPERMUTED_ENTRIES, GgufMap, value_of
from archcalc.hf.lens import Choice, ConfigDraft, ConfigLens, Constraint, Key
from archcalc.hf.nested_keys import NestedConstraint, NestedTemplate
from archcalc.hf.rope import RopeLens
from archcalc.hf.templates.gpt_like import SizeKeys, gpt_layer, gpt_like
from archcalc.hf.tensors import TensorEntry, fused_modules, module, modules, table
from archcalc.hf.vocabulary import QKV, activation, dropout, keys, layers, size

SIZES = SizeKeys(
    size("vocab_size", 32000),
    size("max_seq_len", 2048, aliases=("max_position_embeddings",)),
    size("d_model", 2048, aliases=("hidden_size",)),
    layers(24, "n_layers", aliases=("num_hidden_layers",)),
    size("n_heads", 16, aliases=("num_attention_heads",)),
)
NORM = {"kind": "layernorm", "eps": 1e-5, "bias": False}
THETA = NestedTemplate("attn_config", Key("rope_theta", POSITIVE))


@final
class TwiceStatedRope(ConfigLens, msgspec.Struct, frozen=True):
    """A rotary position whose theta is that of `attn_config`, unless the config has `rope_parameters`."""

    rope: RopeLens

    def names(self) -> Iterator[str]:
        """Yield the keys of both."""
        yield from (*self.rope.names(), *THETA.names())

    def read(self, config: Config) -> Any:
        """Return the position. Raises InputError unless `attn_config` states a theta, as the class does."""
        return msgspec.structs.replace(self.rope, theta=THETA.read(config)).read(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put both."""
        self.rope.write(value, draft)
        THETA.write(value["theta"], draft)


def in_ffn(template: Any) -> NestedTemplate:
    """Return a lens of the feed-forward's keys."""
    return NestedTemplate("ffn_config", template)


TEMPLATE = gpt_like(
    SIZES,
    gpt_layer(
        SIZES,
        norm=NORM,
        attention={
            "n_kv_heads": NestedTemplate("attn_config", size("kv_n_heads", 1)),
            "position": TwiceStatedRope(RopeLens(n_ctx=SIZES.n_ctx)),
            "clip": NestedTemplate("attn_config", Key("clip_qkv", POSITIVE, None, null=None)),
        },
        ffn={
            "kind": "moe",
            "n_experts": in_ffn(size("moe_num_experts", 4)),
            "n_active": in_ffn(size("moe_top_k", 1)),
            "d_expert": in_ffn(size("ffn_hidden_size", 3584)),
            "activation": in_ffn(NestedTemplate("ffn_act_fn", activation("silu", "name"))),
            # The norm by which chosen weights are divided: none, or their sum.
            "normalize": in_ffn(
                Choice(Key("moe_normalize_expert_weights", POSITIVE, 1.0, null=None), {1.0: True, None: False})
            ),
        },
    ),
    stack_fields={"final_norm": NORM},
    head={"tied": False},
    dropout={
        "attention": NestedTemplate("attn_config", dropout("attn_pdrop", 0.0)),
        "residual": dropout("resid_pdrop", 0.0),
    },
)

EXPERTS = "transformer.blocks.{i}.ffn.experts.mlp"
TENSORS = table(
    modules({"embed.tokens": "wte", "final_norm": "norm_f"}, name="transformer."),
    fused_modules(QKV, "transformer.blocks.{i}.norm_attn_norm.attn.Wqkv"),
    modules(
        {
            "attn.out": "norm_attn_norm.attn.out_proj",
            "attn_norm": "norm_attn_norm.norm_1",
            "ffn_norm": "norm_attn_norm.norm_2",
            "ffn.router": "ffn.router.layer",
        },
        "layers.{i}.",
        "transformer.blocks.{i}.",
    ),
    TensorEntry(f"{EXPERTS}.w1", ("layers.{i}.ffn.experts.gate.weight",), joins_rows=True),
    TensorEntry(f"{EXPERTS}.v1", ("layers.{i}.ffn.experts.up.weight",), joins_rows=True),
    TensorEntry(f"{EXPERTS}.w2", ("layers.{i}.ffn.experts.down.weight",), transposed=True, joins_rows=True),
    module("head", "lm_head"),
)


def dbrx_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of the nested configs."""
    attention = {
        "kv_n_heads": value_of(header, KV_HEADS) or 1,
        "clip_qkv": value_of(header, "attention.clamp_kqv"),
        "rope_theta": value_of(header, "rope.freq_base") or 10_000.0,
    }
    names = {
        "moe_num_experts": "expert_count",
        "moe_top_k": "expert_used_count",
        "ffn_hidden_size": "feed_forward_length",
    }
    sizes = {key: value_of(header, name) for key, name in names.items()}
    return {"attn_config": attention, "ffn_config": sizes, "rope_theta": attention["rope_theta"]}


GGUF = GgufMap(
    "dbrx",
    {
        "block_count": "n_layers",
        "context_length": "max_seq_len",
        "embedding_length": "d_model",
        "attention.head_count": "n_heads",
    },
    table(FUSED_QKV, modules({"ffn_norm": "attn_output_norm"}, *BLOCK), UNPERMUTED_ENTRIES),
    config_keys=dbrx_gguf,
    own_keys=(
        *("feed_forward_length", KV_HEADS, "attention.clamp_kqv", "rope.freq_base", "expert_count"),
        "expert_used_count",
    ),
    values={NORM_EPS: (1e-5,)},
    origins={"attn_config": KV_HEADS, "ffn_config": "feed_forward_length"},
)

FAMILIES = (
    Family(
        "dbrx",
        ("DbrxForCausalLM",),
        TEMPLATE,
        TENSORS,
        constraints=(
            NestedConstraint("attn_config", (), known=keys("attn_pdrop clip_qkv kv_n_heads rope_theta")),
            NestedConstraint(
                "ffn_config",
                (),
                known=keys("moe_num_experts moe_top_k ffn_hidden_size ffn_act_fn moe_normalize_expert_weights"),
                irrelevant=keys("hidden_size moe_jitter_eps moe_loss_weight"),
            ),
            Constraint("tie_word_embeddings", (False,)),
        ),
        # The class has its own names of the first, and applies no dropout to embeddings.
        irrelevant=keys("num_key_value_heads emb_pdrop"),
        # Without a clamp the class can be built and not run.
        needs={"attn_config": {"rope_theta": 10_000.0, "clip_qkv": 8.0}},
        gguf=GGUF,
    ),
)
