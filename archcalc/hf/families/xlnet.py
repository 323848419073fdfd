"""XLNet: the stream of contents, without memories, permutations and segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archcalc.hf.config import TEXT, ValueType
from archcalc.hf.families.bert_like import BERT, ENDS_AFTER_STARTS
from archcalc.hf.families.mamba_like import UNBOUNDED
from archcalc.hf.family import derive
from archcalc.hf.heads import LABELS, scores, summary_switch
from archcalc.hf.lens import Choice, Constraint, ImpliedValue, Key, NullCases, Template
from archcalc.hf.templates.bert_like import HeadNames
from archcalc.hf.tensors import TensorEntry, modules
from archcalc.hf.vocabulary import ACTIVATIONS, activation, dropout, layers, size

LENGTH = ValueType(
    lambda value: type(value) is int and (value == -1 or 0 < value <= 2**31), "-1 for no bound, or a length"
)
BOUND = Key("clamp_len", LENGTH, -1)


def by_distance(attention: Mapping[str, Any]) -> Template:
    """Return the attention by projected positions."""
    return {**attention, "kind": "xl", "max_distance": NullCases(BOUND, None, BOUND, empty=-1)}


ATTENTION = "transformer.layer.{i}.rel_attn"
TENSORS = {
    "content_bias": "r_w_bias",
    "position_bias": "r_r_bias",
    "segment_bias": "r_s_bias",
    "segments": "seg_embed",
    "q.weight": "q",
    "k.weight": "k",
    "v.weight": "v",
    "r.weight": "r",
    "out.weight": "o",
}
READS = Choice(
    Key("summary_type", TEXT, "last"), {"last": "last", "first": "first", "mean": "mean", "cls_index": "last"}
)
SUMMARY = Key("summary_activation", TEXT, "tanh", null=None)
DENSE = {
    "activation": NullCases(SUMMARY, "identity", Choice(SUMMARY, ACTIVATIONS)),
    "bias": summary_switch("summary_use_proj", True),
}
SUMMARY_TENSORS = modules({"head.transform": "sequence_summary.summary", "head": "logits_proj"})
# What a token to predict reads in the other stream.
MASK = ({"name": "mask_embedding", "axes": (1, 1, "d_model"), "component": "embedding", "storage": "trainable"},)
WIDTH = size("d_model", 1024, aliases=("hidden_size",))
HEADS = size("n_head", 16, aliases=("num_attention_heads",))
XLNET = derive(
    BERT,
    "xlnet",
    "XLNetLMHeadModel",
    root="transformer",
    vocab_size=size("vocab_size", 32000, aliases=("n_token",)),
    n_ctx=ImpliedValue(UNBOUNDED),
    d_model=WIDTH,
    n_layers=layers(24, "n_layer", aliases=("num_hidden_layers",)),
    n_heads=HEADS,
    d_ff=size("d_inner", 4096),
    activation=activation("gelu", "ff_activation"),
    n_types=None,
    positions=None,
    embed_norm=False,
    attention={},
    encoder_attention=by_distance,
    causal_key=None,
    transform=False,
    pooler=None,
    classifier=None,
    extras=MASK,
    dropout=dropout("dropout", 0.1),
    attention_dropout=dropout("dropout", 0.1),
    ffn_dropout=dropout("dropout", 0.1),
    class_heads={
        "ForSequenceClassification": {"head": scores(LABELS, reads=READS) | {"transform": DENSE}},
        "ForMultipleChoice": {"head": scores(1, reads=READS) | {"transform": DENSE}},
        "ForQuestionAnswering": {"head": scores(1), "extras": (*MASK, *ENDS_AFTER_STARTS)},
    },
    class_tensors={
        "ForSequenceClassification": SUMMARY_TENSORS,
        "ForMultipleChoice": SUMMARY_TENSORS,
        "ForQuestionAnswering": modules(
            {
                "head": "start_logits.dense",
                "extras.end_logits.dense_0": "end_logits.dense_0",
                "extras.end_logits.norm": "end_logits.LayerNorm",
                "extras.end_logits.dense_1": "end_logits.dense_1",
                "extras.answer_class.dense_0": "answer_class.dense_0",
                "extras.answer_class.dense_1": "answer_class.dense_1",
            }
        ),
    },
    names={
        "embed.tokens": "{root}.word_embedding",
        "layers.{i}.attn_norm": "{root}.layer.{i}.rel_attn.layer_norm",
        "layers.{i}.ffn.up": "{root}.layer.{i}.ff.layer_1",
        "layers.{i}.ffn.down": "{root}.layer.{i}.ff.layer_2",
        "layers.{i}.ffn_norm": "{root}.layer.{i}.ff.layer_norm",
    },
    entries=(
        TensorEntry("transformer.mask_emb", ("extras.mask_embedding",)),
        *(TensorEntry(f"{ATTENTION}.{theirs}", (f"layers.{{i}}.attn.{ours}",)) for ours, theirs in TENSORS.items()),
    ),
    head_names=HeadNames(decoder="lm_loss", bias="lm_loss.bias"),
    constraints=(
        Constraint("attn_type", ("bi",)),
        Constraint("d_head", (None, ImpliedValue(lambda config: WIDTH.read(config) // HEADS.read(config)))),
    ),
    # With it, the second half of the texts counts distances the other way.
    run_constraints=(Constraint("bi_data", (False,)),),
    irrelevant="mem_len reuse_len use_mems_eval use_mems_train same_length summary_type bi_data"
    " summary_use_proj summary_activation summary_last_dropout start_n_top end_n_top untie_r",
    unused={},
)

FAMILIES = (XLNET,)
