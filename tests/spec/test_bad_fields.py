"""Documents with one mistake: each gets one line that names the place, what was found and what is allowed."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from archcalc.errors import InputError
from archcalc.sources import load
from tests.spec.documents import LAYER, REMOVED, changed

ATTENTION, FFN = f"{LAYER}.attention", f"{LAYER}.ffn"
MOE = {"kind": "moe", "n_experts": 8, "n_active": 2, "d_expert": 16}
MLA = {"kind": "mla", "n_heads": 4, "kv_rank": 8, "d_nope": 4, "d_rope": 2, "d_v": 4}
INDEXER = {"kind": "tokens", "n_index_heads": 2, "d_index": 4, "n_selected": 3}
CONV = {"kind": "short_conv"}
MAMBA2 = {"kind": "mamba2", "n_heads": 3, "d_head": 4}
GQA = {"kind": "gqa", "n_heads": 4}
NORM = {"kind": "rmsnorm"}
STACK = {"runs": [{"count": 1, "pattern": [{"norm": NORM, "attention": GQA}]}]}
PLACE = "decoder.runs[0].pattern[0]"
INTEGER = "an integer from 1 to 4294967296"

# (where, what is written there, what the message starts with, what else it says)
BAD: list[tuple[str, Any, str, str]] = [
    # Names.
    ("d_modle", 16, "unknown key 'd_modle' (did you mean 'd_model'?)", "expected name, about"),
    ("titel", "A", "unknown key 'titel' (did you mean 'title'?)", "dropout, title, source"),
    ("decoder.n_layer", 2, "decoder: unknown key 'n_layer' (did you mean 'n_layers'?)", "expected n_layers, runs"),
    (f"{ATTENTION}.n_kv_head", 2, f"{PLACE}.attention: unknown key 'n_kv_head'", "(did you mean 'n_kv_heads'?)"),
    (f"{FFN}.dff", 64, f"{PLACE}.ffn: unknown key 'dff'", "(did you mean 'd_ff'?); expected kind, d_ff"),
    (f"{ATTENTION}.position.zz", 1, f"{PLACE}.attention.position: unknown key 'zz';", "theta, d_rotary"),
    ("kind", "decoder", "unknown key 'kind'", "expected name"),
    ("a`b", 3, "unknown key 'a`b'", "expected name"),
    ("x\ny\x1b[31m", 3, r"unknown key 'x\ny\x1b[31m'", "expected name"),
    # Kinds.
    (f"{ATTENTION}.kind", "gqaa", f"{PLACE}.attention.kind: found 'gqaa' (did you mean 'gqa'?)", "expected gqa, mla"),
    (f"{ATTENTION}.kind", 3, f"{PLACE}.attention.kind: found 3", "expected gqa, mla"),
    (f"{ATTENTION}.kind", None, f"{PLACE}.attention.kind: found null", "expected gqa, mla"),
    (f"{ATTENTION}.kind", REMOVED, f"{PLACE}.attention: the required field 'kind' is missing", "expected gqa, mla"),
    (f"{FFN}.kind", "gatde", f"{PLACE}.ffn.kind: found 'gatde' (did you mean 'gated'?)", "plain, gated, moe"),
    (f"{LAYER}.norm", {"kind": "RMSNorm"}, f"{PLACE}.norm.kind: found 'RMSNorm'", "expected layernorm, rmsnorm"),
    (f"{LAYER}.norm", "rmsnorm", f"{PLACE}.norm: found 'rmsnorm'", "a mapping of kind layernorm or rmsnorm"),
    (
        f"{ATTENTION}.position",
        "rope",
        f"{PLACE}.attention.position: found 'rope'",
        "rope or alibi or relative or disentangled or content, or null",
    ),
    (f"{ATTENTION}.position.kind", "rop", f"{PLACE}.attention.position.kind: found 'rop'", "(did you mean 'rope'?)"),
    (f"{ATTENTION}.position.scaling", {"kind": "ntk"}, f"{PLACE}.attention.position.scaling.kind: found 'ntk'", "yarn"),
    ("decoder.position", {"kind": "rope"}, "decoder.position.kind: found 'rope'", "expected learned, sinusoidal"),
    (ATTENTION, MLA | {"position": {"kind": "alibi"}}, f"{PLACE}.attention.position.kind: found 'alibi'", "rope"),
    # Words from a list.
    (f"{LAYER}.placement", "prenorm", f"{PLACE}.placement: found 'prenorm' (did you mean 'pre'?)", "sandwich"),
    (f"{FFN}.activation", "swish", f"{PLACE}.ffn.activation: found 'swish'", "silu"),
    (FFN, MOE | {"choose": "soft"}, f"{PLACE}.ffn.choose: found 'soft' (did you mean 'softmax'?)", "sigmoid"),
    (f"{ATTENTION}.qk_norm", {"norm": NORM, "over": "heads"}, f"{PLACE}.attention.qk_norm.over: found 'heads'", "full"),
    # Types.
    ("d_model", "16", "d_model: found '16'", INTEGER),
    ("d_model", True, "d_model: found true", INTEGER),
    ("d_model", 16.5, "d_model: found 16.5", INTEGER),
    ("d_model", [16], "d_model: found a list", INTEGER),
    ("d_model", [], "d_model: found an empty list", INTEGER),
    ("d_model", None, "d_model: found null", INTEGER),
    ("d_model", {"kind": 3}, "d_model: found a mapping", INTEGER),
    ("d_model", REMOVED, "the required field 'd_model' is missing", INTEGER),
    ("head", {"tied": "yes"}, "head.tied: found 'yes'", "true or false"),
    ("head", {"tied": 1}, "head.tied: found 1", "true or false"),
    ("name", 5, "name: found 5", "text of 1 to 200 characters"),
    ("name", "", "name: found ''", "text of 1 to 200 characters"),
    ("name", "x" * 201, "name: found 'xxxxx", "…; expected text of 1 to 200 characters"),
    ("name", "half \ud800", r"the text 'half \ud800' contains half a character", "Unicode"),
    (f"{LAYER}.name", "Big Layer", f"{PLACE}.name: found 'Big Layer'", "lower-case letters, digits and _"),
    ("source", 5, "about.source: found 5", "text, or a list"),
    ("source", ["a", 3], "about.source[1]: found 3", "text"),
    ("claims", {}, "about.claims: found a mapping", "a list"),
    ("claims", [{}], "about.claims[0]: the required field 'id' is missing", "text"),
    ("decoder", [], "decoder: found an empty list", "a mapping, or null"),
    ("decoder.runs", {}, "decoder.runs: found a mapping", "a list of 1 to 1000 items"),
    ("decoder.runs", [], "decoder.runs: found an empty list", "a list of 1 to 1000 items"),
    ("decoder.runs.0.pattern", [], "decoder.runs[0].pattern: found an empty list", "a list of 1 to 1000 items"),
    ("embedding", {3: 4}, "embedding: the key 3 is not text", "text keys"),
    # Ranges.
    ("d_model", 0, "d_model: found 0", INTEGER),
    ("d_model", -1, "d_model: found -1", INTEGER),
    ("d_model", 10**40, f"d_model: found {10**40}", INTEGER),
    ("d_model", 10**5000, "d_model: found an integer of 16610 bits", INTEGER),
    ("d_model", math.nan, "d_model: found nan", INTEGER),
    ("d_model", math.inf, "d_model: found inf", INTEGER),
    ("decoder.n_mtp", -1, "decoder.n_mtp: found -1", "an integer from 0 to 1000"),
    ("decoder.runs.0.count", 0, "decoder.runs[0].count: found 0", "an integer from 1 to 100000, or null"),
    ("decoder.runs.0.count", 100_001, "decoder.runs[0].count: found 100001", "an integer from 1 to 100000, or null"),
    ("head", {"softcap": math.nan}, "head.softcap: found nan", "a number > 0 and ≤ 1e+30, or null"),
    ("head", {"softcap": math.inf}, "head.softcap: found inf", "a number > 0 and ≤ 1e+30, or null"),
    ("head", {"scale": 0}, "head.scale: found 0", "a number > 0"),
    ("head", {"scale": 10**5000}, "head.scale: found an integer of 16610 bits", "a number > 0"),
    ("dropout", {"attention": 1.0}, "dropout.attention: found 1.0", "a number ≥ 0 and < 1"),
    # Sizes that contradict each other.
    (f"{ATTENTION}.n_heads", 3, f"{PLACE}.attention.d_head: left out, and d_model 16 is not divisible", "n_heads 3"),
    (f"{ATTENTION}.n_kv_heads", 3, f"{PLACE}.attention.n_kv_heads: 3 does not divide n_heads 4", "a divisor"),
    (f"{ATTENTION}.n_kv_heads", 8, f"{PLACE}.attention.n_kv_heads: 8 does not divide n_heads 4", "a divisor"),
    (f"{ATTENTION}.position.d_rotary", 3, f"{PLACE}.attention.position.d_rotary: 3 of 4 dimensions", "even"),
    (f"{ATTENTION}.position.d_rotary", 6, f"{PLACE}.attention.position.d_rotary: 6 of 4 dimensions", "up to 4"),
    (f"{ATTENTION}.d_head", 5, f"{PLACE}.attention.position.d_rotary: 5 of 5 dimensions", "an even number up to 5"),
    (ATTENTION, MLA | {"d_rope": 3}, f"{PLACE}.attention.position.d_rotary: 3 of 3 dimensions", "even"),
    (
        ATTENTION,
        MLA | {"d_rope": 4, "position": {"kind": "rope", "d_rotary": 2}},
        f"{PLACE}.attention.position.d_rotary: 2 differs from d_rope",
        "expected 4",
    ),
    (ATTENTION, MLA | {"indexer": INDEXER}, f"{PLACE}.attention.indexer: there is no latent of queries", "a q_rank"),
    (
        ATTENTION,
        MLA | {"q_rank": 5, "indexer": INDEXER | {"d_index": 1}},
        f"{PLACE}.attention.indexer.d_index: 1 is less than d_rope 2",
        "2 or more",
    ),
    (ATTENTION, MLA | {"raw_latent": True}, f"{PLACE}.attention.raw_latent: there is no latent of queries", "a q_rank"),
    (
        ATTENTION,
        MLA | {"q_rank": 5, "indexer": INDEXER, "window": 4},
        f"{PLACE}.attention.window: an indexer selects among all tokens",
        "null, or no indexer",
    ),
    (f"{ATTENTION}.window_kind", "chunked", f"{PLACE}.attention.window_kind: there is no window", "sliding"),
    (
        FFN,
        MOE | {"capacity": 3, "weight_on": "input"},
        f"{PLACE}.ffn.weight_on: an expert beyond its capacity",
        "output",
    ),
    (FFN, MOE | {"n_active": 9}, f"{PLACE}.ffn.n_active: 9 of 8 experts", "1 to 8"),
    (FFN, MOE | {"n_groups": 3}, f"{PLACE}.ffn.n_groups: 3 does not divide n_experts 8", "a divisor"),
    (FFN, MOE | {"n_groups": 4, "n_active_groups": 5}, f"{PLACE}.ffn.n_active_groups: 5 of 4 groups", "1 to 4"),
    (FFN, MOE | {"n_groups": 4, "n_active": 3}, f"{PLACE}.ffn.n_active: 3 experts do not fit", "n_active_groups"),
    (FFN, MOE | {"d_shared": 4}, f"{PLACE}.ffn.d_shared: there are no shared experts", "n_shared of 1"),
    (FFN, MOE | {"shared_gate": True}, f"{PLACE}.ffn.shared_gate: there are no shared experts", "n_shared of 1"),
    (FFN, MOE | {"zero_stored": True}, f"{PLACE}.ffn.zero_stored: there are no experts without weights", "n_zero of 1"),
    (FFN, MOE | {"n_zero": 2, "n_groups": 4, "n_active_groups": 4}, f"{PLACE}.ffn.n_groups: experts without", "1"),
    (FFN, MOE | {"n_zero": 2, "weight_on": "input"}, f"{PLACE}.ffn.weight_on: experts without", "output"),
    # Structures that contradict themselves.
    ("decoder", REMOVED, "encoder: neither an encoder nor a decoder", "at least one of them"),
    ("encoder", STACK, "decoder.runs: no layer attends to the encoder", "a layer with 'cross'"),
    ("encoder", STACK | {"n_mtp": 1}, "encoder.n_mtp: an encoder predicts no next tokens", "0"),
    (f"{LAYER}.cross", GQA, f"{PLACE}.cross: there is no encoder to attend to", "an 'encoder' stack"),
    (
        "decoder.runs.0.pattern",
        [{"norm": NORM}],
        f"{PLACE}: a layer without any part",
        "attention, mixer, cross or ffn",
    ),
    (
        "decoder.runs.0.pattern",
        [{"norm": NORM, "attention": GQA, "placement": "parallel"}],
        f"{PLACE}.placement: 'parallel' needs attention or mixer, and ffn, and no cross",
        "pre, post",
    ),
    (
        "decoder.runs.0.pattern",
        [{"name": "a", "norm": NORM, "attention": GQA}, {"name": "a", "norm": NORM, "ffn": MOE}],
        "decoder.runs[0].pattern[1].name: 'a' is also the name of a different layer",
        "unique names",
    ),
    (
        "decoder.n_layers",
        3,
        "decoder.n_layers: 3, but the counts of the runs sum to 2",
        "2, or one run without 'count'",
    ),
    (
        "decoder.runs.0.count",
        REMOVED,
        "decoder.n_layers: neither n_layers nor the 'count' of a run is stated",
        "one of the two",
    ),
    (
        "decoder",
        STACK | {"runs": STACK["runs"] + [{"pattern": STACK["runs"][0]["pattern"]}], "n_layers": 1},
        "decoder.n_layers: 1, but the runs with a 'count' have 1",
        "more",
    ),
    (
        "decoder",
        {"n_layers": 9, "runs": [{"pattern": [{"norm": NORM, "ffn": MOE}]}] * 2},
        "decoder.runs: 2 runs have no 'count'",
        "at most one run without 'count'",
    ),
    (
        "decoder.runs.0.pattern",
        [{"norm": NORM, "attention": GQA | {"n_heads": n, "position": {"kind": "relative"}}} for n in (2, 4)],
        "decoder.runs: layers with a relative bias differ",
        "one table for the stack",
    ),
]


@pytest.mark.parametrize(("path", "value", "start", "says"), BAD, ids=[f"{row[0][-30:]}-{row[2][:40]}" for row in BAD])
def test_a_mistake_gets_one_line(path: str, value: Any, start: str, says: str):
    with pytest.raises(InputError) as caught:
        load(changed(path, value))
    message = str(caught.value)
    assert type(caught.value) is InputError
    assert message.startswith(start)
    assert says in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("role", "layer", "found"),
    [
        (
            "decoder",
            {"attention": GQA, "mixer": CONV},
            r"mixer: the layer has an attention too; expected one of the two",
        ),
        (
            "decoder",
            {"mixer": {"kind": "gated_delta", "n_heads": 3, "n_key_heads": 2, "d_key": 4}},
            r"mixer.n_key_heads: 2 key heads; expected a divisor of n_heads = 3",
        ),
        (
            "decoder",
            {"attention": MLA | {"position": None, "q_rank": 4, "indexer": INDEXER}},
            r"indexer: there is no position to rotate its keys by; expected a position, or no indexer",
        ),
        (
            "decoder",
            {"mixer": MAMBA2 | {"n_state_groups": 2}},
            r"mixer.n_state_groups: 2 groups; expected a divisor of n_heads = 3",
        ),
        (
            "decoder",
            {"mixer": MAMBA2 | {"step_min": 0.5, "step_max": 0.25}},
            r"mixer.step_max: smaller than step_min; expected step_min or more",
        ),
        (
            "decoder",
            {"mixer": MAMBA2 | {"norm": None, "norm_when": "before"}},
            r"mixer.norm_when: there is no norm; expected after",
        ),
        ("encoder", {"mixer": CONV}, r"mixer: reads only earlier tokens; expected a part of an encoder"),
        ("encoder", {"branches": [{"arms": [{"name": "mixer", "part": CONV}]}]}, r"part: reads only earlier tokens"),
        ("decoder", {"mixer": CONV, "placement": "parallel"}, r"needs attention or mixer, and ffn"),
    ],
)
def test_a_mixer_knows_its_place(role: str, layer: dict[str, Any], found: str):
    norm = {} if "branches" in layer else {"norm": NORM}
    stack = {"runs": [{"count": 1, "pattern": [norm | layer]}]}
    with pytest.raises(InputError, match=found):
        load({"name": "x", "vocab_size": 5, "n_ctx": 3, "d_model": 8, role: stack})


IDLE = {"norm": NORM, "attention": GQA, "cross": GQA, "cross_reads": "nothing"}
IDLE_ARM = {"arms": [{"name": "cross", "part": GQA, "reads": "nothing"}]}


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (IDLE | {"cross": None}, r"cross_reads: the layer has no cross-attention; expected source"),
        (IDLE | {"attention": None}, r"no part of the layer is computed"),
        ({"branches": [IDLE_ARM]}, r"no part of the layer is computed"),
        (
            {"branches": [{"arms": [*IDLE_ARM["arms"], {"name": "attn", "part": GQA}]}]},
            r"branches\[0\]\.arms: some arms read nothing",
        ),
        (
            {"branches": [{"arms": [{"name": "attn", "part": GQA, "input_of": "attn"}]}]},
            r"branches\[0\]\.arms\[0\]\.input_of: found 'attn'",
        ),
    ],
)
def test_an_idle_cross_attention_knows_its_bounds(layer: dict[str, Any], found: str):
    load(changed("decoder.runs.0.pattern", [IDLE]))
    with pytest.raises(InputError, match=found):
        load(changed("decoder.runs.0.pattern", [layer]))
    with pytest.raises(InputError, match=r"cross: reads nothing although there is an encoder"):
        load(cross() | {"decoder": {"runs": [{"count": 1, "pattern": [IDLE]}]}})


def test_a_gate_is_read():
    first, second = ({"arms": [{"name": name, "part": GQA}]} for name in ("attn", "more"))
    gated = second | {"in_gate_rank": 2}
    load(changed("decoder.runs.0.pattern", [{"branches": [first, gated]}]))
    gated["arms"] = [{"name": "more", "part": GQA, "input_of": "attn"}]
    with pytest.raises(InputError, match=r"branches\[1\]\.in_gate_rank: no arm reads what it would gate"):
        load(changed("decoder.runs.0.pattern", [{"branches": [first, gated]}]))


WEIGHTED = {"kind": "moe", "n_experts": 4, "n_active": 2, "d_expert": 5, "n_shared": 2, "choose": "sigmoid"} | {
    "scores_shared": True
}


def test_biases_of_keys_and_product_keys_know_their_bounds():
    kept = GQA | {"key_bias": {"n_kept": 2}}
    chunked = kept | {"window": 4, "window_kind": "chunked"}
    experts = {"kind": "product_keys", "n_experts": 18, "n_active": 17}
    for layer, line in (
        ({"attention": chunked}, "key_bias.n_kept: keys are kept among all, not among those of a chunk; expected null"),
        ({"ffn": experts}, "ffn.n_active: 17 of 16 experts; expected 1 to 16"),
        (
            {"ffn": WEIGHTED | {"weigh": "softmax"}},
            "ffn.weigh: the router weighs the shared experts; expected no value",
        ),
        (
            {"ffn": WEIGHTED | {"shared_bias": True}},
            "ffn.shared_bias: the router weighs the shared experts; expected false",
        ),
        ({"ffn": WEIGHTED | {"n_shared": 0}}, "ffn.scores_shared: there are no shared experts; expected n_shared of 1"),
        (
            {"attention": GQA | {"d_conv": 3, "value_is_key": True, "v_norm": NORM}},
            "attention.d_conv: values that are the keys are convolved once; expected null",
        ),
        ({"ffn": experts | {"n_active": 1, "n_keys": 5}}, "ffn.n_keys: found 5; expected ⌊√n_experts⌋, 4"),
    ):
        with pytest.raises(InputError, match=re.escape(line)):
            load(changed("decoder.runs.0.pattern", [{"norm": NORM} | layer]))
    with pytest.raises(InputError, match=r"cross\.d_conv: a convolution reads earlier tokens; expected null"):
        load(cross(d_conv=3))
    with pytest.raises(InputError, match=r"cross\.key_bias: keys of a source have no bias; expected null"):
        load(cross(key_bias={}))
    idle = {"arms": [{"name": "cross", "part": GQA, "reads": "nothing", "d_out_conv": 3}]}
    with pytest.raises(InputError, match=r"arms\[0\]\.d_out_conv: a convolution reads earlier tokens; expected null"):
        load(changed("decoder.runs.0.pattern", [{"branches": [idle]}]))
    for attention, line in (
        (kept, r"attention\.key_bias: keys of an encoder have no bias; expected null"),
        (GQA | {"d_conv": 3}, r"attention\.d_conv: it reads earlier tokens only; expected a part of an encoder"),
    ):
        with pytest.raises(InputError, match=line):
            load(changed("encoder", {"runs": [{"count": 1, "pattern": [{"norm": NORM, "attention": attention}]}]}))


def cross(**changes: Any) -> dict[str, Any]:
    """An encoder-decoder whose decoder layer's cross-attention is changed."""
    layer = {"norm": NORM, "attention": GQA, "cross": GQA | changes}
    return changed("encoder", STACK) | {"decoder": {"runs": [{"count": 1, "pattern": [layer]}]}}


def test_cross_attention_knows_its_bounds():
    load(cross())
    with pytest.raises(InputError, match=r"cross\.position: cross-attention has no positions"):
        load(cross(position={"kind": "alibi"}))
    with pytest.raises(InputError, match=r"cross\.window: cross-attention reads the whole source"):
        load(cross(window=4))
    encoder = {"runs": [{"count": 1, "pattern": [{"norm": NORM, "cross": GQA}]}]}
    with pytest.raises(InputError, match=r"encoder\.runs\[0\]\.pattern\[0\]\.cross: an encoder attends only to itself"):
        load(cross() | {"encoder": encoder})


@pytest.mark.parametrize("document", [{1: 2}, {None: 2}, {("a",): 2}, {"base": "tiny", 1: 2}])
def test_keys_are_text(document: dict[Any, Any]):
    with pytest.raises(InputError, match="is not text; expected text keys"):
        load(document)


def test_an_extra_is_as_wide_as_heads_where_there_are_some():
    extra = [{"name": "contact.weight", "axes": [1, "all_heads"]}]
    assert load(changed("extras", extra)).extras
    ffn = {"kind": "plain", "d_ff": 8, "activation": "gelu"}
    headless = changed("decoder.runs.0.pattern", [{"norm": NORM, "ffn": ffn}])
    with pytest.raises(InputError, match=r"extras\[0\]\.axes: the model has no heads; expected other axes"):
        load(headless | {"extras": extra})
