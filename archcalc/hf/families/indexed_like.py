"""Decoders whose latent attention selects keys by an indexer (DeepSeek-V3.2 and what follows it): a row each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from msgspec.structs import replace

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import LAYERS, LAYERS_OR_NONE, MAX_LAYERS, WORDS, Config, ValueType
from archcalc.hf.families.mla_like import (
    EARLIER_DENSE,
    FOLLOWING,
    LATENT_GGUF,
    LATENT_ORIGINS,
    LATENT_OWN_KEYS,
    LATENT_SIZES,
    MIXED,
    absorbed,
    grouped,
    latent,
    latent_widths,
)
from archcalc.hf.families.moe_like import CORRECTED, corrected_gguf, experts, layers_that
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import (
    BLOCK,
    CORRECTED_EXPERTS,
    HYBRID_SIZES,
    NORM_EPS,
    SIGMOID,
    UNPERMUTED_ENTRIES,
    GgufMap,
    layer_values,
    value_of,
)
from archcalc.hf.lens import Constraint, ImpliedValue, Key
from archcalc.hf.spellings import MTP_LAYERS, TIED_EXPERTS
from archcalc.hf.stack import INDEX, CombinedSchedule, ListSchedule, Schedule
from archcalc.hf.templates.decoder import cross_product, decoder
from archcalc.hf.tensors import fused_modules, module, modules, table
from archcalc.hf.vocabulary import flag, keys, layers, positive, rmsnorm, size

FIRST_DENSE = Key("first_k_dense_replace", LAYERS_OR_NONE, 3)
DENSE_FIRST = layers_that(lambda config, index: index < FIRST_DENSE.read(config), FIRST_DENSE)
INDEXER = modules(
    {
        "attn.indexer.q": "wq_b",
        "attn.indexer.k": "wk",
        "attn.indexer.k_norm": "k_norm",
        "attn.indexer.head_weights": "weights_proj",
    },
    "layers.{i}.",
    "model.layers.{i}.self_attn.indexer.",
)
N_SELECTED = size("index_topk", 2048)


def indexer(heads: int, **fields: Any) -> dict[str, Any]:
    """Return an indexer with this many heads by default."""
    sizes = {"n_index_heads": size("index_n_heads", heads), "d_index": size("index_head_dim", 128)}
    norm = {"kind": "layernorm", "eps": 1e-6}
    return {"kind": "tokens", **sizes, "n_selected": N_SELECTED, "norm": norm, **fields}


def shared_experts(**sizes: Any) -> dict[str, Any]:
    """Return DeepSeek-V3.2's mixture of experts."""
    return experts(
        size("n_routed_experts", 256, aliases=("num_local_experts", "num_experts")),
        size("num_experts_per_tok", 8),
        size("moe_intermediate_size", 2048),
        **CORRECTED,
        **sizes,
        normalize=flag("norm_topk_prob", True),
        scale=positive("routed_scaling_factor", 2.5),
        n_shared=size("n_shared_experts", 1),
    )


@final
class IndexedLayers(Constraint, frozen=True):
    """Every layer has indexed attention, under its present or its former name."""

    depth: int = 1

    def check(self, config: Config) -> None:
        """Raise InputError unless the list has one of the names for each layer."""
        words = config.data.get(self.name)
        n_layers = layers(self.depth).read(config)
        if words is not None and not any(words == [word] * n_layers for word in self.allowed):
            found = words[0] if isinstance(words, list) and len(set(map(str, words))) == 1 else words
            raise config.error(self.name, found, f"{n_layers} times {self.allowed[0]}")


def indexed_layers(depth: int) -> Constraint:
    """Return the constraint that every layer has indexed attention."""
    return IndexedLayers("layer_types", ("indexed_attention", "deepseek_sparse_attention"), depth)


# Said by some configs; the class has no choice.
NO_CHOICE = (
    Constraint("scoring_func", ("sigmoid",)),
    Constraint("topk_method", ("noaux_tc",)),
    Constraint("moe_layer_freq", (1,)),
)
# The class has biases in attention only. MTP modules are in files, and no forward pass runs them.
UNREAD = f"{FOLLOWING} mlp_bias num_nextn_predict_layers num_mtp_layers ep_size aux_loss_alpha seq_aux"
DEEPSEEK_V32_LATENT = {
    **latent(128, q_rank=1536, kv_rank=512, d_nope=128, d_rope=64, d_v=128),
    "q_rank": size("q_lora_rank", 1536),
}
DEEPSEEK_V32 = decoder(
    "deepseek_v32",
    "DeepseekV32ForCausalLM",
    vocab=129280,
    n_ctx=163840,
    width=7168,
    depth=61,
    d_ff=18432,
    rope={"interleaved": True},
    base_attention=DEEPSEEK_V32_LATENT,
    attention={"indexer": indexer(64)},
    ffn_kinds={"dense": None, "moe": shared_experts(**grouped(8, 4))},
    schedule=DENSE_FIRST,
    tensors=(*MIXED, INDEXER),
    constraints=(*NO_CHOICE, indexed_layers(61)),
    irrelevant=keys(UNREAD),
    spelling=replace(TIED_EXPERTS, mtp=MTP_LAYERS),
)

# What a gated norm and its gate are called. They come before the bare norm's name, which dense layers have.
GATED_NORMS = (
    *(
        entry
        for part, stored in {"attn": "input_layernorm", "ffn": "post_attention_layernorm"}.items()
        for entry in (
            *module(
                f"layers.{{i}}.{part}_norm",
                f"model.layers.{{i}}.{stored}.norm",
                requires=f"layers.{{i}}.{part}_in_gate.up.weight",
            ),
            *modules(
                {"down": "fc1", "up": "fc2"}, f"layers.{{i}}.{part}_in_gate.", f"model.layers.{{i}}.{stored}.mlp."
            ),
        )
    ),
)

# Which layers run their indexer: a list, a pattern of F and S, or every n-th from a certain layer on.
FREQUENCY = Key("index_topk_freq", LAYERS_OR_NONE, 1)
OFFSET = Key("index_skip_topk_offset", LAYERS_OR_NONE, 2)
_LETTERS = {"F": "full", "S": "shared"}
PATTERN = Key(
    "index_topk_pattern",
    ValueType(
        lambda value: (isinstance(value, str) and set(value) <= set(_LETTERS)) or WORDS.allows(value),
        "letters F and S, or a list of full and shared",
    ),
    None,
    null=None,
)


def indexer_kind(config: Config, index: int) -> str:
    """Return whether a layer runs its indexer, where no list says it."""
    pattern = PATTERN.read(config)
    if pattern is None:
        return "shared" if max(index - OFFSET.read(config) + 1, 0) % max(FREQUENCY.read(config), 1) else "full"
    if index >= len(pattern):
        raise config.error(PATTERN.name, f"{len(pattern)} layers", "one for each layer")
    word: str = _LETTERS.get(pattern[index], pattern[index])
    if word not in ("full", "shared"):
        raise config.error(PATTERN.name, word, "full, shared")
    return word


INDEXER_TYPES = ListSchedule(
    {"full": "full", "shared": "shared"}, indexer_kind, (PATTERN, FREQUENCY, OFFSET), "indexer_types"
)


def sharing(depth: int, types: Schedule) -> Any:
    """Return the function that makes the layers whose indexer is shared read the last selection before them."""

    def lender(config: Config) -> int:
        index: int = config.data[INDEX]
        kinds = types.read(config, Key("num_hidden_layers", LAYERS, depth).read(config))
        full = [before for before in range(index) if kinds[before] == "full"]
        if not full:
            raise config.error("indexer_types[0]", "shared", "full in the first layer")
        return full[-1]

    def to_layer(kind: str, layer: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**layer, "shares": {"selection": ImpliedValue(lender)}} if kind.startswith("shared") else layer

    return to_layer


def glm_dsa_gguf(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Return the widths of latent attention, what files leave out of the choice of experts, and which layers index.

    Files of GLM-5.1 and before do not list the layers with an indexer of their own: all have its tensors.
    """
    found = latent_widths(header, config) | corrected_gguf(header, config)
    n_layers = min(found["num_hidden_layers"], MAX_LAYERS + 1)
    own = [f"blk.{layer}.indexer.attn_k.weight" in header.tensors for layer in range(n_layers)]
    if value_of(header, INDEXER_TYPES_KEY) is not None:
        own = layer_values(header, INDEXER_TYPES_KEY)[:n_layers]
    return found | {"indexer_types": ["full" if each else "shared" for each in own]}


INDEXER_TYPES_KEY = "attention.indexer.types"
INDEXER_GGUF = modules(
    {
        "attn.indexer.q": "indexer.attn_q_b",
        "attn.indexer.k": "indexer.attn_k",
        "attn.indexer.k_norm": "indexer.k_norm",
        "attn.indexer.head_weights": "indexer.proj",
    },
    *BLOCK,
)
GLM_MOE_DSA = derive(
    DEEPSEEK_V32,
    "glm_moe_dsa",
    "GlmMoeDsaForCausalLM",
    vocab=154880,
    n_ctx=202752,
    width=6144,
    depth=78,
    d_ff=12288,
    norm=rmsnorm(1e-5),
    base_attention={
        **latent(64, q_rank=2048, kv_rank=512, d_nope=192, d_rope=64, d_v=256),
        "q_rank": size("q_lora_rank", 2048),
    },
    attention={},
    schedule=CombinedSchedule(INDEXER_TYPES, DENSE_FIRST),
    to_branches=sharing(78, INDEXER_TYPES),
    by_index=True,
    constraints=(*NO_CHOICE, indexed_layers(78)),
    spelling=replace(TIED_EXPERTS, mtp=replace(MTP_LAYERS, has_tables=False)),
    gguf=GgufMap(
        "glm-dsa",
        HYBRID_SIZES
        | CORRECTED_EXPERTS
        | LATENT_SIZES
        | {
            "attention.indexer.head_count": "index_n_heads",
            "attention.indexer.key_length": "index_head_dim",
            "attention.indexer.top_k": "index_topk",
        },
        table(INDEXER_GGUF, LATENT_GGUF, UNPERMUTED_ENTRIES),
        of_spec=absorbed,
        config_keys=glm_dsa_gguf,
        own_keys=(*LATENT_OWN_KEYS, INDEXER_TYPES_KEY, "nextn_predict_layers"),
        values={"expert_gating_func": (SIGMOID,), NORM_EPS: (1e-6,)},
        origins=LATENT_ORIGINS | {"indexer_types": INDEXER_TYPES_KEY},
    ),
    **cross_product(
        {
            "full": {"indexer": indexer(32, interleaved=True)},
            "shared": {"indexer": {"kind": "shared", "n_selected": N_SELECTED}},
        },
        {"dense": None, "moe": shared_experts(**grouped(1, 1))},
    ),
)

GATE_RANK = size("gated_norm_rank", 16)


def gated_inputs(kind: str, layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Gate what attention and experts read, but not what a dense feed-forward reads (A.X K2)."""
    parts = {"attn": layer["attention"], "ffn": layer["ffn"]}
    ranks = {"attn": GATE_RANK, "ffn": GATE_RANK if kind == "moe" else None}
    return {
        "branches": tuple(
            {"norm_in": layer["norm"], "in_gate_rank": ranks[name], "arms": ({"name": name, "part": part},)}
            for name, part in parts.items()
        )
    }


AXK2 = derive(
    DEEPSEEK_V32,
    "axk2",
    "AXK2ForCausalLM",
    vocab=163840,
    n_ctx=131072,
    width=2048,
    depth=48,
    d_ff=5120,
    base_attention={
        **latent(32, q_rank=384, kv_rank=128, d_nope=64, d_rope=32, d_v=64),
        "q_rank": size("q_lora_rank", 384),
        "raw_latent": True,
        "gate": {"activation": "sigmoid", "over": "channel"},
    },
    attention={"indexer": indexer(16)},
    ffn_kinds={
        "dense": None,
        "moe": experts(
            size("n_routed_experts", 128, aliases=("num_local_experts",)),
            size("num_experts_per_tok", 8),
            size("moe_intermediate_size", 512),
            **CORRECTED,
            # Both keys or neither.
            n_groups=size("n_group", 1, null=1),
            n_active_groups=size("topk_group", 1, null=1),
            normalize=flag("norm_topk_prob", True),
            scale=positive("routed_scaling_factor", 2.5),
            n_shared=size("n_shared_experts", 1),
        ),
    },
    schedule=EARLIER_DENSE,
    to_branches=gated_inputs,
    tensors=(
        *fused_modules(
            ("layers.{i}.attn.q_up", "layers.{i}.attn.gate"),
            "model.layers.{i}.self_attn.q_gate_proj",
            order="by_query_head",
        ),
        *GATED_NORMS,
        *MIXED,
        INDEXER,
    ),
    constraints=(*NO_CHOICE[:2], indexed_layers(48)),
    spelling=replace(
        TIED_EXPERTS,
        mtp=MTP_LAYERS,
        renames={
            r"\.W_down\.": ".mlp.fc1.",
            r"\.W_up\.": ".mlp.fc2.",
            r"\.self_attn\.q_b_proj\.": ".self_attn.q_gate_proj.",
        },
    ),
)

FAMILIES = (DEEPSEEK_V32, GLM_MOE_DSA, AXK2)
