"""Decoders with hyper-connections (Hunyuan 4, DeepSeek-V4): every branch reads and writes several residual streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import msgspec
from msgspec.structs import replace

from archcalc.hf.config import AMOUNT, LAYERS_OR_NONE, MAPPING, SHARE, TEXT, WORDS, Config, ValueType
from archcalc.hf.families.indexed_like import GLM_MOE_DSA, INDEXER, N_SELECTED, indexed_layers, indexer, sharing
from archcalc.hf.families.llama_like import NO_PADDING
from archcalc.hf.families.mla_like import FOLLOWING, MIXED, grouped, latent
from archcalc.hf.families.moe_like import CORRECTED, experts, layers_that
from archcalc.hf.family import derive
from archcalc.hf.lens import Choice, ConfigDraft, ConfigLens, Constraint, Key, MismatchError
from archcalc.hf.rope import RopeLens, share_of
from archcalc.hf.spellings import TIED_EXPERTS
from archcalc.hf.stack import CombinedSchedule, ListSchedule, Schedule
from archcalc.hf.templates.decoder import cross_product, decoder
from archcalc.hf.tensors import TensorEntry, modules
from archcalc.hf.vocabulary import (
    CORRECTION,
    LLAMA_EXPERTS,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    SHARED_EXPERTS,
    activation,
    flag,
    keys,
    layernorm,
    positive,
    rmsnorm,
    size,
)

if TYPE_CHECKING:
    from archcalc.spec.document import Document

EPS = Key("hc_eps", AMOUNT, 1e-6)


def stream_tensors(name: str, *prefixes: str) -> tuple[TensorEntry, ...]:
    """Return the entries of the weights of streams; `prefixes` are those of transformers' names."""
    fields = {"projection": "fn", "bias": "base", "scale": "scale"}
    return tuple(
        TensorEntry(f"{prefix}{theirs}", (f"{name}.{ours}",)) for prefix in prefixes for ours, theirs in fields.items()
    )


STREAMS = (
    *stream_tensors("layers.{i}.streams.attn", "model.layers.{i}.attn_hc."),
    *stream_tensors("layers.{i}.streams.ffn", "model.layers.{i}.ffn_hc."),
    *stream_tensors("streams", "model.hc_head.hc_"),
)
N_STREAMS = size("hc_mult", 4)


def indexer_kind(config: Config, index: int) -> str:
    """Return whether a layer runs its indexer, where no list says it: the first two, and every fourth after them."""
    return "full" if index == 0 or (index - 1) % 4 == 0 else "shared"


INDEXER_TYPES = ListSchedule({"full": "full", "shared": "shared"}, indexer_kind, (), "indexer_types")
OWN = indexer(16, norm=layernorm(1e-5, "rms_norm_eps"), rotated="last")

HY_V4 = derive(
    GLM_MOE_DSA,
    "hy_v4",
    "HYV4ForCausalLM",
    vocab=120832,
    n_ctx=262144,
    width=2816,
    depth=34,
    d_ff=6912,
    norm=rmsnorm(1e-5),
    rope={},
    base_attention={
        **latent(32, q_rank=1536, kv_rank=512, d_nope=192, d_rope=64, d_v=256),
        "q_rank": size("q_lora_rank", 1536),
        "gate": {},
        "sinks": True,
    },
    schedule=CombinedSchedule(INDEXER_TYPES, layers_that(lambda config, index: index == 0)),
    to_branches=sharing(34, INDEXER_TYPES),
    stack_fields={
        "streams": {
            "kind": "hyper",
            "n_streams": N_STREAMS,
            "magnitude": positive("hc_magnitude", 2.0),
            "norm_eps": positive("rms_norm_eps", 1e-5),
            "eps": EPS,
            "write_eps": EPS,
        }
    },
    tensors=(
        *MIXED,
        INDEXER,
        modules({"attn.gate": "gate_proj"}, "layers.{i}.", "model.layers.{i}.self_attn."),
        TensorEntry("model.layers.{i}.self_attn.sinks", ("layers.{i}.attn.sinks",)),
        *STREAMS,
    ),
    constraints=(indexed_layers(34),),
    irrelevant=keys(f"{FOLLOWING} learnable_sink_init"),
    spelling=replace(
        TIED_EXPERTS,
        renames={
            r"\.hc_pre\.hc_": ".hc_",
            r"\.hc_attn_layer\.hc_": ".attn_hc.",
            r"\.hc_mlp_layer\.hc_": ".ffn_hc.",
            r"\.hc_head_(fn|base|scale)$": r".hc_\1",
            r"\.learnable_sink_param$": ".sinks",
            r"\.linear_gate\.": ".gate_proj.",
        },
        unused={r"model\.mtp_layers\..*": "predicts further tokens"},
    ),
    fixed_keys=NO_PADDING,
    **cross_product(
        {"full": {"indexer": OWN}, "shared": {"indexer": {"kind": "shared", "n_selected": N_SELECTED}}},
        {
            "dense": None,
            "moe": experts(
                size("n_routed_experts", 256, aliases=("num_local_experts",)),
                size("num_experts_per_tok", 8),
                size("moe_intermediate_size", 768),
                **CORRECTED,
                **grouped(1, 1),
                normalize=flag("norm_topk_prob", True),
                scale=positive("routed_scaling_factor", 2.827),
                n_shared=size("n_shared_experts", 1),
                shared_activation=activation("silu"),
            )
            # The routed experts alone are clamped, and always by this function.
            | {
                "activation": {
                    "kind": "clamped_swish",
                    "limit": positive("swiglu_limit", 10.0),
                    "alpha": 1.0,
                    "up_offset": 0.0,
                }
            },
        },
    ),
)

KINDS = {
    "sliding_attention": "sliding",
    "compressed_sparse_attention": "sparse",
    "heavily_compressed_attention": "heavy",
}
RATIOS = {0: "sliding", 4: "sparse", 128: "heavy"}
LIST = ValueType(lambda value: isinstance(value, list), "a list of integers")


@final
class PoolSize(ConfigLens, msgspec.Struct, frozen=True):
    """The tokens of an entry: `compress_rates` by kind of layer, or an older key of its own, which is preferred."""

    word: str
    older: str
    default: int

    def names(self) -> Iterator[str]:
        """Yield both keys."""
        yield from ("compress_rates", self.older)

    def read(self, config: Config) -> int:
        """Return the number."""
        rates = Key("compress_rates", MAPPING, {}, null={}).read(config) or {}
        parameters = config.nested({self.word: self.default} | rates, "compress_rates")
        parameters.ignore_but(frozenset(KINDS))
        default = size(self.word, self.default).read(parameters)
        return int(size(self.older, default, null=default).read(config))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the number under the kind of layer."""
        draft["compress_rates"] = {**draft.get("compress_rates", {}), self.word: value}


@final
class LayerKinds(Schedule, msgspec.Struct, frozen=True):
    """The kinds of layers: `layer_types`, or the older `compress_ratios`; either list may be longer."""

    def names(self) -> Iterator[str]:
        """Yield both keys."""
        yield from ("layer_types", "compress_ratios")

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the kinds. Raises InputError for unknown words and ratios, and for too few."""
        if config.data.get("layer_types") is not None:
            return self._known("layer_types", config.get("layer_types", WORDS), KINDS, config, n_layers)
        if config.data.get("compress_ratios") is not None:
            return self._known("compress_ratios", config.get("compress_ratios", LIST), RATIOS, config, n_layers)
        return ["heavy" if index < 2 or index % 2 == 0 else "sparse" for index in range(n_layers)]

    @staticmethod
    def _known(name: str, found: list[Any], kinds: Mapping[Any, str], config: Config, n_layers: int) -> list[str]:
        if len(found) < n_layers:
            raise config.error(name, f"{len(found)} items", f"{n_layers}, one for each layer")
        for index, item in enumerate(found):
            if type(item) not in (int, str) or item not in kinds:
                raise config.error(f"{name}[{index}]", item, ", ".join(map(str, kinds)))
        return [kinds[item] for item in found[:n_layers]]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put `layer_types`."""
        words = {kind: word for word, kind in KINDS.items()}
        draft.put("layer_types", [words[kind] for kind in kinds])


N_HASH = Key("num_hash_layers", LAYERS_OR_NONE, 3, null=3)
MLP_TYPES = ListSchedule(
    {"hash_moe": "hash", "moe": "moe"},
    lambda config, index: "hash" if index < N_HASH.read(config) else "moe",
    (N_HASH,),
    "mlp_layer_types",
)
D_HEAD = size("head_dim", 512)


@final
class MainRope(ConfigLens, msgspec.Struct, frozen=True):
    """The rotary position of a kind of layers: nested under `main` or `compress`, or by older keys.

    The older keys scale compressed layers alone, and leave cosines and sines of YaRN as they are.
    """

    word: str
    theta_key: str
    theta: float

    def names(self) -> Iterator[str]:
        """Yield the keys of both spellings."""
        yield from ("rope_parameters", "rope_scaling", "original_max_position_embeddings", self.theta_key)
        yield from ("partial_rotary_factor", "qk_rope_head_dim")

    def read(self, config: Config) -> Document:
        """Return a position of kind rope."""
        parameters = self._parameters(config)
        inner = {key: value for key, value in config.data.items() if key not in _OLDER_ROPE}
        position = self._lens().read(Config({**inner, "rope_parameters": parameters}, config.path))
        if (width := share_of_head(config)) % 2:
            # The class rotates one more dimension, with the frequencies of the odd width.
            if position.get("scaling"):
                raise config.error("partial_rotary_factor", width / D_HEAD.read(config), "an even part of a head")
            position["theta"] **= (width + 1) / width
        return position | {"d_rotary": rotated_width(config)}

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the parameters under the kind, and the class's under the other, which the class reads together."""
        own = ConfigDraft({key: item for key, item in draft.items() if key != "rope_parameters"})
        self._lens().write(value, own)
        parameters = own["rope_parameters"]
        share = {"partial_rotary_factor": parameters["partial_rotary_factor"]}
        usual = {word: {"rope_theta": theta, "rope_type": "default"} | share for word, theta in _THETAS.items()}
        others = draft.get("rope_parameters", {})
        if others.get(self.word, parameters) not in (parameters, usual[self.word]):
            raise MismatchError
        draft["rope_parameters"] = {**usual, **others, self.word: parameters}

    def _parameters(self, config: Config) -> Document:
        found = next((key for key in ("rope_scaling", "rope_parameters") if config.data.get(key)), "rope_parameters")
        mapping = dict(Key(found, MAPPING, {}, null={}).read(config))
        if all(isinstance(mapping.get(word), dict) for word in ("main", "compress")):
            return dict(mapping[self.word])
        theta = positive(self.theta_key, self.theta).read(config)
        if self.word == "main":
            return {"rope_theta": theta}
        scaling = {key: value for key, value in mapping.items() if key not in ("main", "compress")}
        if scaling.get("rope_type", scaling.get("type")) == "yarn":
            scaling.setdefault("attention_factor", 1.0)
        return scaling | {"rope_theta": theta}

    def _lens(self) -> RopeLens:
        share = 1.0
        return RopeLens(theta=self.theta, interleaved=True, theta_key=None, default_share=share, head_width=D_HEAD.read)


_THETAS = {"main": 10_000.0, "compress": 160_000.0}
_OLDER_ROPE = ("rope_parameters", "rope_scaling", "partial_rotary_factor")


def rotated_width(config: Config) -> int:
    """Return the rotated part of a head, an even number."""
    width = share_of_head(config)
    return width + width % 2


def share_of_head(config: Config) -> int:
    """Return the rotated part of a head: a share of its width, or an older key that says the number."""
    width = int(D_HEAD.read(config))
    older = config.data.get("qk_rope_head_dim")
    default = 64 / 512 if older is None else size("qk_rope_head_dim", 64).read(config) / width
    share = Key("partial_rotary_factor", SHARE, default, null=default).read(config)
    return int(width * share)


@final
class RotatedWidth(ConfigLens, msgspec.Struct, frozen=True):
    """The rotated part of a head, written as its share."""

    def names(self) -> Iterator[str]:
        """Yield the keys of the share and of the number."""
        yield from ("partial_rotary_factor", "qk_rope_head_dim")

    def read(self, config: Config) -> int:
        """Return the number of dimensions."""
        return rotated_width(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the share."""
        draft.put("partial_rotary_factor", share_of(value, D_HEAD.read(Config(draft))))


def compression(word: str, older: str, default: int, **more: Any) -> dict[str, Any]:
    """Return how layers of a kind compress tokens, and how they rotate."""
    own = {"n_pool": PoolSize(word, older, default), **more}
    return {"compression": own, "position": MainRope("compress", "compress_rope_theta", 160_000.0)}


CLAMPED = {
    "kind": "clamped_swish",
    "limit": positive("swiglu_limit", 10.0),
    "alpha": 1.0,
    "up_offset": 0.0,
}
SCORING = Choice(Key("scoring_func", TEXT, "sqrtsoftplus"), {"sqrtsoftplus": "sqrt_softplus", "sigmoid": "sigmoid"})
D_EXPERT = size("moe_intermediate_size", 2048, aliases=("intermediate_size",))
V4_EXPERTS = {
    "kind": "moe",
    "n_experts": size("n_routed_experts", 256, aliases=("num_local_experts",)),
    "n_active": size("num_experts_per_tok", 6),
    "d_expert": D_EXPERT,
    "activation": CLAMPED,
    "choose": SCORING,
    "normalize": True,
    "scale": positive("routed_scaling_factor", 1.5),
    "n_shared": 1,
    "shared_bias": flag("mlp_bias", False),
}
ATTENTION = "model.layers.{i}.self_attn."
POOL = {"pool.kv": "kv_proj", "pool.gate": "gate_proj", "pool.norm": "kv_norm"}

V4_RENAMES = {
    r"^(?=(?:embed|layers|norm)\.|hc_head_)": "model.",
    r"^head\.": "lm_head.",
    r"^model\.embed\.": "model.embed_tokens.",
    r"^model\.hc_head_(?=fn|base|scale)": "model.hc_head.hc_",
    r"\.attn\.": ".self_attn.",
    r"\.ffn\.": ".mlp.",
    r"\.attn_norm\.": ".input_layernorm.",
    r"\.ffn_norm\.": ".post_attention_layernorm.",
    r"\.hc_(attn|ffn)_(?=fn|base|scale)": r".\1_hc.",
    r"\.attn_sink$": ".sinks",
    r"\.indexer\.compressor\.": ".compressor.indexer.",
    r"\.self_attn\.indexer\.weights_proj\.": ".self_attn.compressor.indexer.scorer.weights_proj.",
    r"\.self_attn\.indexer\.wq_b\.": ".self_attn.compressor.indexer.q_b_proj.",
    r"\.(self_attn|compressor|indexer)\.norm\.": r".\1.kv_norm.",
    r"\.ape$": ".position_bias",
    r"\.w(q|o)_(a|b)\.": r".\1_\2_proj.",
    r"\.wkv\.": ".kv_proj.",
    r"\.wgate\.": ".gate_proj.",
    r"\.q_norm\.": ".q_a_norm.",
    r"\.gate\.bias$": ".gate.e_score_correction_bias",
    r"(experts(?:\.\d+)?)\.w1\.": r"\1.gate_proj.",
    r"(experts(?:\.\d+)?)\.w2\.": r"\1.down_proj.",
    r"(experts(?:\.\d+)?)\.w3\.": r"\1.up_proj.",
}
DEEPSEEK_V4 = decoder(
    "deepseek_v4",
    "DeepseekV4ForCausalLM",
    vocab=129280,
    n_ctx=1048576,
    width=4096,
    depth=43,
    base_attention={
        "kind": "compressed",
        "n_heads": size("num_attention_heads", 64),
        "d_head": D_HEAD,
        "q_rank": size("q_lora_rank", 1024),
        "d_rope": RotatedWidth(),
        "window": size("sliding_window", 128),
        "n_out_groups": size("o_groups", 8),
        "out_rank": size("o_lora_rank", 1024),
        "norm": rmsnorm(1e-6),
    },
    schedule=CombinedSchedule(LayerKinds(), MLP_TYPES),
    stack_fields={
        "streams": {
            "kind": "hyper",
            "n_streams": N_STREAMS,
            "norm_eps": positive("rms_norm_eps", 1e-6),
            "eps": EPS,
            "mix": {"n_turns": size("hc_sinkhorn_iters", 20)},
        }
    },
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_NORMS,
        LLAMA_EXPERTS,
        SHARED_EXPERTS,
        CORRECTION,
        TensorEntry("model.layers.{i}.mlp.gate.tid2eid", ("layers.{i}.ffn.expert_table",)),
        modules(
            {
                "attn.q_down": "q_a_proj",
                "attn.q_down_norm": "q_a_norm",
                "attn.q_up": "q_b_proj",
                "attn.kv": "kv_proj",
                "attn.kv_norm": "kv_norm",
                "attn.out_down": "o_a_proj",
                "attn.out": "o_b_proj",
                **{f"attn.{ours}": f"compressor.{theirs}" for ours, theirs in POOL.items()},
                **{f"attn.indexer.{ours}": f"compressor.indexer.{theirs}" for ours, theirs in POOL.items()},
                "attn.indexer.q": "compressor.indexer.q_b_proj",
                "attn.indexer.head_weights": "compressor.indexer.scorer.weights_proj",
            },
            "layers.{i}.",
            ATTENTION,
        ),
        TensorEntry(f"{ATTENTION}sinks", ("layers.{i}.attn.sinks",)),
        TensorEntry(f"{ATTENTION}compressor.position_bias", ("layers.{i}.attn.pool.positions",)),
        TensorEntry(f"{ATTENTION}compressor.indexer.position_bias", ("layers.{i}.attn.indexer.pool.positions",)),
        *STREAMS,
    ),
    # Said by some configs; the class has no choice.
    constraints=(Constraint("topk_method", ("noaux_tc",)), Constraint("hidden_act", ("silu", "swish"))),
    irrelevant=keys(
        "attention_bias num_key_value_heads n_shared_experts norm_topk_prob rope_theta num_nextn_predict_layers"
        " router_jitter_noise expert_dtype"
    ),
    spelling=replace(
        TIED_EXPERTS,
        renames=V4_RENAMES,
        unused={r"(.*\.)?mtp\..*": "predicts further tokens"},
        integers=(r".*\.tid2eid",),
    ),
    **cross_product(
        {
            "sliding": {"position": MainRope("main", "rope_theta", 10_000.0), "compression": None},
            "sparse": compression(
                "compressed_sparse_attention",
                "compress_rate_csa",
                4,
                overlap=True,
                indexer={
                    "n_index_heads": size("index_n_heads", 64),
                    "d_index": size("index_head_dim", 128),
                    "n_selected": size("index_topk", 512),
                },
            ),
            "heavy": compression("heavily_compressed_attention", "compress_rate_hca", 128),
        },
        {"hash": {**V4_EXPERTS, "by_token": True}, "moe": {**V4_EXPERTS, "correction": "buffer"}},
    ),
)

FAMILIES = (HY_V4, DEEPSEEK_V4)
