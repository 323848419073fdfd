"""Encoders like LLaMA whose heads have a transform: ModernBERT (and its decoder), UltraBERT, ESM C."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

import msgspec

from archcalc.hf.config import POSITIVE, SIZE, TEXT, Config, ValueType
from archcalc.hf.families.llama_like import NO_PADDING
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import (
    EMBEDDING_KEYS,
    FUSED_GATE_UP,
    FUSED_QKV,
    KV_HEADS,
    LAYERNORM_SIZES,
    NORM_EPS,
    UNPERMUTED_ENTRIES,
    WINDOW_PATTERN,
    GgufMap,
    embedding_model,
)
from archcalc.hf.heads import LABELS, scores
from archcalc.hf.lens import Choice, ConfigDraft, ConfigLens, Constraint, Conversion, ImpliedValue, Key, RedundantKey
from archcalc.hf.rope import RopeLens
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import FirstLayerSchedule, ListSchedule
from archcalc.hf.templates.decoder import BIASED, LAYER, MLP_BIAS, WINDOWS, decoder, windows
from archcalc.hf.tensors import fused_modules, module, modules, table
from archcalc.hf.vocabulary import (
    LLAMA_ATTENTION,
    LLAMA_DENSE,
    LLAMA_FFN,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    QK_NORMS,
    QKV,
    activation,
    dropout,
    flag,
    keys,
    layernorm,
    layers,
    size,
)

if TYPE_CHECKING:
    from archcalc.spec.document import Document

# -------------------------------------------------------------------------------------------------------- ModernBERT


def without_first_norm(kind: str, layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Let the first layer's attention read the states as the embedding's norm left them."""
    if not kind.startswith("first_"):
        return layer
    arms = {name: ({"name": name, "part": layer[part]},) for name, part in (("attn", "attention"), ("ffn", "ffn"))}
    return {
        "branches": (
            {"norm_in": None, "arms": arms["attn"]},
            {"norm_in": layer["norm"], "arms": arms["ffn"]},
        )
    }


def kinds(window: ConfigLens) -> dict[str, Any]:
    """Return the kinds of layers, global and sliding with their own thetas, and the first layer's."""
    both = {
        "global": {"window": None},
        "sliding": {
            "window": window,
            "position": lambda rope: msgspec.structs.replace(
                rope, layer_kind="sliding_attention", theta=10_000.0, theta_key="local_rope_theta"
            ),
        },
    }
    return {f"first_{name}": kind for name, kind in both.items()} | both


NORM = layernorm(1e-5, "norm_eps", bias=flag("norm_bias", False))
PERIOD = Key("global_attn_every_n_layers", SIZE, 3)
WIDTH = size("local_attention", 128)
OUTSIDE = modules(
    {
        "embed.tokens": "model.embeddings.tok_embeddings",
        "embed_norm": "model.embeddings.norm",
        "final_norm": "model.final_norm",
    }
)
INSIDE = (
    *modules({"attn_norm": "attn_norm", "ffn_norm": "mlp_norm", "attn.out": "attn.Wo", "ffn.down": "mlp.Wo"}, *LAYER),
    *fused_modules(("layers.{i}.ffn.gate", "layers.{i}.ffn.up"), "model.layers.{i}.mlp.Wi"),
)


def spelling(head: str) -> Spelling:
    """A tied head may be stored a second time."""
    return Spelling(copies={f"{head}.weight": "model.embeddings.tok_embeddings.weight"})


TRANSFORM = {
    "activation": activation("gelu", "classifier_activation"),
    "norm": NORM,
    "bias": flag("classifier_bias", False),
}
# Which state of a text its labels are scored from.
POOLED = Choice(Key("classifier_pooling", TEXT, "cls"), {"cls": "first", "mean": "mean"})

MODERNBERT = decoder(
    "modernbert",
    "ModernBertForMaskedLM",
    stack="encoder",
    vocab=50368,
    n_ctx=8192,
    width=768,
    depth=22,
    heads=12,
    d_head=ImpliedValue(None),
    d_ff=1152,
    act=activation("gelu", "hidden_activation"),
    norm=NORM,
    theta=160_000.0,
    rope={"layer_kind": "full_attention", "theta_key": "global_rope_theta"},
    tie=True,
    head={"bias": flag("decoder_bias", True), "transform": TRANSFORM},
    class_heads={
        "ForSequenceClassification": {"head": scores(LABELS, reads=POOLED) | {"transform": TRANSFORM}},
        "ForTokenClassification": {"head": scores(LABELS) | {"transform": TRANSFORM}},
        "ForQuestionAnswering": {"head": scores(LABELS) | {"transform": TRANSFORM}},
        "ForMultipleChoice": {"head": scores(1, reads=POOLED) | {"transform": TRANSFORM}},
    },
    attention=BIASED | {"n_kv_heads": ImpliedValue(None)},
    ffn={"bias": MLP_BIAS},
    # What is left and right of a token is within half the width.
    kinds=kinds(Conversion(WIDTH, lambda width: width // 2 + 1, lambda window: 2 * (window - 1))),
    schedule=FirstLayerSchedule(windows(PERIOD, full=0)),
    to_branches=without_first_norm,
    stack_fields={"embed_norm": NORM},
    dropouts={
        "embedding": dropout("embedding_dropout", 0.0),
        "attention": dropout("attention_dropout", 0.0),
        "ffn": dropout("mlp_dropout", 0.0),
    },
    tensors=(
        OUTSIDE,
        fused_modules(QKV, "model.layers.{i}.attn.Wqkv"),
        INSIDE,
        modules({"head.transform": "head.dense", "head.norm": "head.norm"}),
        module("head", "decoder"),
    ),
    # transformers lets it stretch both kinds' rotations; a window of its own would set the local width.
    constraints=(Constraint("rope_scaling", (None,)), Constraint("sliding_window", (None,))),
    irrelevant=keys(
        "deterministic_flash_attn sparse_prediction sparse_pred_ignore_index"
        " initializer_cutoff_factor reference_compile repad_logits_with_grad"
    ),
    fixed_keys=NO_PADDING,
    spelling=spelling("decoder"),
    gguf=GgufMap(
        "modern-bert",
        {key: name for key, name in LAYERNORM_SIZES.items() if key not in (KV_HEADS, "rope.freq_base")}
        | {
            NORM_EPS: "norm_eps",
            "attention.sliding_window": "local_attention",
            WINDOW_PATTERN: "global_attn_every_n_layers",
            "rope.freq_base": "global_rope_theta",
            "rope.freq_base_swa": "local_rope_theta",
        },
        table(modules({"embed_norm": "token_embd_norm"}), FUSED_QKV, FUSED_GATE_UP, UNPERMUTED_ENTRIES),
        config_keys=embedding_model("ModernBertModel"),
        own_keys=(*EMBEDDING_KEYS, KV_HEADS),
    ),
)
MODERNBERT_DECODER = derive(
    MODERNBERT,
    "modernbert-decoder",
    "ModernBertDecoderForCausalLM",
    stack="decoder",
    class_heads={
        "ForSequenceClassification": {
            "head": scores(LABELS, bias=flag("classifier_bias", False), reads="last", picks="after")
            | {"transform": TRANSFORM}
        }
    },
    # Half the local width, unless the window is stated.
    kinds=kinds(size("sliding_window", lambda config: WIDTH.read(config) // 2)),
    fixed_keys={"pad_token_id": 0},
    tensors=(
        OUTSIDE,
        modules({f"attn.{part}": f"attn.{part}_proj" for part in "qkv"}, *LAYER),
        INSIDE,
        modules({"head.transform": "lm_head.dense", "head.norm": "lm_head.norm"}),
        module("head", "decoder"),
    ),
    constraints=(Constraint("rope_scaling", (None,)),),
    irrelevant=keys("initializer_cutoff_factor local_attention"),
)

# --------------------------------------------------------------------------------------------------------- UltraBERT

WINDOW_OR_NONE = ValueType(
    lambda value: isinstance(value, list) and all(item is None or (type(item) is int and item >= 0) for item in value),
    "a list of windows",
)
OLDER_WINDOWS = Key("attention_windows", WINDOW_OR_NONE, None, null=None)


def older_window(config: Config, index: int) -> str:
    """A layer slides that has a window, in the older spelling; else all but every third do."""
    older = OLDER_WINDOWS.read(config)
    if older is None:
        return "sliding" if (index + 1) % 3 else "global"
    if index >= len(older):
        raise config.error(OLDER_WINDOWS.name, f"{len(older)} layers", "one for each layer")
    return "sliding" if older[index] else "global"


@final
class WindowList(ConfigLens, msgspec.Struct, frozen=True):
    """A window's size: that of the first layer which has one in the older spelling, or else the key's."""

    key: Key

    def names(self) -> Iterator[str]:
        """Yield both keys."""
        yield from (*self.key.names(), *OLDER_WINDOWS.names())

    def read(self, config: Config) -> int:
        """Return the window, which includes the token itself."""
        older = next(filter(None, OLDER_WINDOWS.read(config) or ()), None)
        return int(older or self.key.read(config)) + 1

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Write the newer key."""
        self.key.write(None if value is None else value - 1, draft)


THETAS = Key("rope_theta", ValueType(lambda value: isinstance(value, list), "a list of thetas"), None, null=None)
SCHEDULE = ListSchedule(WINDOWS, older_window, (OLDER_WINDOWS,))


@final
class ThetaList(ConfigLens, msgspec.Struct, frozen=True):
    """A rotary position of a kind of layers whose theta may stand in a list with one for each layer."""

    rope: RopeLens

    def names(self) -> Iterator[str]:
        """Yield the keys of the rotation, and the list's."""
        yield from (*self.rope.names(), *THETAS.names())

    def read(self, config: Config) -> Document:
        """Return the position; the list is used without a newer key."""
        thetas = THETAS.read(config)
        if thetas is None or config.data.get("rope_parameters") is not None:
            return self.rope.read(config)
        for index, theta in enumerate(thetas):
            if not POSITIVE.allows(theta):
                raise config.error(f"rope_theta[{index}]", theta, POSITIVE.description)
        words = {kind: word for word, kind in WINDOWS.items()}
        kinds = [words[kind] for kind in SCHEDULE.read(config, DEPTH.read(config))]
        stated = {kind: {"rope_theta": theta} for kind, theta in zip(kinds, thetas, strict=False)}
        return self.rope.read(Config({**config.data, "rope_parameters": stated}, config.path))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Write the newer key."""
        self.rope.write(value, draft)


DEPTH = layers(32)
ULTRABERT = decoder(
    "ultrabert",
    "UltrabertForMaskedLM",
    stack="encoder",
    n_ctx=32768,
    theta=2_560_000.0,
    rope={"layer_kind": "full_attention", "theta_key": None},
    attention=BIASED,
    ffn={"bias": MLP_BIAS},
    kinds={
        "global": {"window": None, "position": ThetaList},
        "sliding": {
            "window": WindowList(size("sliding_window", 128)),
            "position": lambda rope: ThetaList(
                msgspec.structs.replace(rope, layer_kind="sliding_attention", theta=10_000.0)
            ),
        },
    },
    schedule=SCHEDULE,
    head={
        "transform": {
            "activation": "gelu_tanh",
            "norm": None,
            "bias": False,
            "d_hidden": size("prediction_head_size", 768),
        }
    },
    tensors=(
        module("head", "head.decoder"),
        LLAMA_DENSE,
        modules({"head.transform": "head.linear1", "head.transform_out": "head.linear2"}),
    ),
    class_heads={"ForSequenceClassification": {"head": scores(LABELS, reads=POOLED)}},
    spelling=Spelling(
        renames={r"^ultrabert\.": "model.", r"^cls\.": "head.decoder."},
        copies={"head.decoder.weight": "model.embed_tokens.weight"},
    ),
)

# ------------------------------------------------------------------------------------------------------------- ESM C

HEADS = size("num_attention_heads", 40)


def head_of_model(config: Config) -> int:
    """Return the width of a head: all heads together are as wide as the model."""
    return int(size("hidden_size", 2560).read(config) // HEADS.read(config))


def by_depth(config: Config) -> float:
    """Return the factor of each residual branch: 1 at 36 layers."""
    return 1 / math.sqrt(layers(80).read(config) / 36)


FIXED_NORM = {"kind": "layernorm", "eps": 1e-5}
NORM_WITHOUT_BIAS = FIXED_NORM | {"bias": False}
ESMC = decoder(
    "esmc",
    "EsmcForMaskedLM",
    stack="encoder",
    class_heads={
        "ForSequenceClassification": {"head": scores(LABELS, reads="pooled"), "pooler": {"activation": "tanh"}}
    },
    vocab=64,
    width=2560,
    d_ff=6912,
    depth=80,
    heads=40,
    d_head=RedundantKey(size("head_dim", head_of_model, null=head_of_model), head_of_model),
    norm=FIXED_NORM,
    layer={"scale": ImpliedValue(by_depth)},
    attention=BIASED
    | {
        "n_kv_heads": RedundantKey(size("num_key_value_heads", HEADS.read, null=HEADS.read), HEADS.read),
        "qk_norm": {"norm": NORM_WITHOUT_BIAS, "over": "full"},
    },
    ffn={"bias": MLP_BIAS},
    stack_fields={"final_norm": NORM_WITHOUT_BIAS},
    head={"tied": False, "bias": True, "transform": {"activation": "gelu", "norm": FIXED_NORM}},
    tensors=(
        tuple(
            msgspec.structs.replace(row, name=row.name.replace("model.", "esmc.", 1))
            for row in (*LLAMA_OUTSIDE[:-2], *LLAMA_ATTENTION, *QK_NORMS, *LLAMA_NORMS, *LLAMA_FFN)
        ),
        modules({"head.transform": "lm_head.dense", "head.norm": "lm_head.layer_norm", "head": "lm_head.decoder"}),
    ),
    # The class never ties its head.
    irrelevant=keys("tie_word_embeddings mask_token_id"),
    spelling=Spelling(),
)

FAMILIES = (MODERNBERT, MODERNBERT_DECODER, ULTRABERT, ESMC)
