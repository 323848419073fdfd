"""T5, mT5 and UMT5; version 1.1 gates its feed-forward and has a head of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archcalc.hf.gguf_map import DENSE, EMBEDDING_KEYS, NORM_EPS, RMS_EPS, GgufMap
from archcalc.hf.lens import Cases, ImpliedValue
from archcalc.hf.templates.t5_like import WIDTH, T5Defaults, t5_like
from archcalc.hf.tensors import TensorEntry, module, modules, table
from archcalc.hf.vocabulary import flag

if TYPE_CHECKING:
    from archcalc.formats.gguf_file import Header
    from archcalc.spec.model import Spec

# A tied head is scaled.
SCALE = ImpliedValue(lambda config: WIDTH.read(config) ** -0.5)
# transformers 5 ties every head of T5's kind when it reads a config. T5's class keeps what the file said under another
# key, which is then the scale alone.
T5_HEAD = Cases(
    flag("tie_word_embeddings", True),
    {
        True: {"tied": True, "scale": Cases(flag("scale_decoder_outputs", True), {False: None, True: SCALE})},
        False: {"tied": False, "scale": Cases(flag("scale_decoder_outputs", False), {False: None, True: SCALE})},
    },
)
# No head of mT5's class is scaled, tied or not.
MT5_HEAD = {"tied": flag("tie_word_embeddings", True), "scale": None}
UMT5_HEAD = Cases(
    flag("tie_word_embeddings", True), {True: {"tied": True, "scale": SCALE}, False: {"tied": False, "scale": None}}
)


def t5_gguf(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Return the type and the class: files of UMT5, and of an encoder alone, have these keys and tensors too.

    llama.cpp (src/models/t5.cpp): a gated feed-forward is that of version 1.1, another one has ReLU.
    """
    is_gated = "enc.blk.0.ffn_gate.weight" in header.tensors
    found = {
        "feed_forward_proj": "gated-gelu" if is_gated else "relu",
        "head_dim": config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
    }
    by_layer = "enc.blk.1.attn_rel_b.weight" in header.tensors
    if by_layer:
        found["model_type"] = "umt5"
    if header.metadata["general.architecture"] == "t5encoder":
        found["architectures"] = ["UMT5EncoderModel" if by_layer else "T5EncoderModel"]
    return found


def gguf_entries(spec: Spec) -> tuple[TensorEntry, ...]:
    """Return the entries of the stacks; an encoder alone has names without a prefix."""
    stacks = {"encoder." if spec.decoder else "": "enc.", **({"decoder.": "dec."} if spec.decoder else {})}
    return tuple(entry for ours, stored in stacks.items() for entry in _stack_entries(ours, stored))


def _stack_entries(ours: str, stored: str) -> tuple[TensorEntry, ...]:
    layer, block = f"{ours}layers.{{i}}.", f"{stored}blk.{{i}}."
    parts = {"attn": "attn", "cross": "cross_attn"}
    names = {"q": "q", "k": "k", "v": "v", "out": "o"}
    attention = {f"{part}.{each}": f"{there}_{name}" for part, there in parts.items() for each, name in names.items()}
    norms = {f"{part}_norm": f"{there}_norm" for part, there in (parts | {"ffn": "ffn"}).items()}
    return (
        *modules(attention | norms | DENSE, layer, block),
        *module(f"{layer}attn.relative_bias", f"{block}attn_rel_b"),
        *module(f"{ours}relative_bias", f"{stored}blk.0.attn_rel_b"),
        *module(f"{ours}final_norm", f"{stored}output_norm"),
    )


T5_GGUF = GgufMap(
    "t5",
    {
        "block_count": "num_layers",
        "decoder_block_count": "num_decoder_layers",
        "context_length": "n_positions",
        "embedding_length": "hidden_size",
        "feed_forward_length": "d_ff",
        "attention.head_count": "num_attention_heads",
        "attention.key_length": "head_dim",
        "attention.relative_buckets_count": "relative_attention_num_buckets",
        RMS_EPS: "layer_norm_epsilon",
    },
    table(module("embed.tokens", "token_embd"), module("head", "output")),
    of_spec=gguf_entries,
    config_keys=t5_gguf,
    # Norms read one of the two, and generation starts with that token.
    own_keys=(NORM_EPS, "decoder_start_token_id", *EMBEDDING_KEYS),
    aliases=("t5encoder",),
    unused={r"dec\.blk\.\d+\.cross_attn_rel_b\.weight": "never read"},
)
MULTILINGUAL = T5Defaults(250112, 1024, 8, 6, "gated-gelu")

FAMILIES = (
    t5_like(
        "t5",
        ("T5ForConditionalGeneration", "T5WithLMHeadModel"),
        T5Defaults(32128, 2048, 6, 8, "relu"),
        T5_HEAD,
        gguf=T5_GGUF,
    ),
    t5_like("mt5", ("MT5ForConditionalGeneration",), MULTILINGUAL, MT5_HEAD),
    t5_like("umt5", ("UMT5ForConditionalGeneration",), MULTILINGUAL, UMT5_HEAD, shared="layer"),
)
