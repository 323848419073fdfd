"""HRM-Text: two modules of layers that run in cycles, on a state each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, final

from msgspec import Struct
from msgspec.structs import replace

from archcalc.hf.config import INDICES, SIZE, Config
from archcalc.hf.families.llama_like import LLAMA
from archcalc.hf.family import Family, derive
from archcalc.hf.lens import ConfigDraft, ConfigLens, ImpliedValue, Key, MismatchError, Template, names, read, write
from archcalc.hf.spellings import TIED, Spelling
from archcalc.hf.stack import StackLens
from archcalc.hf.templates.decoder import BIASED, MLP_BIAS
from archcalc.hf.tensors import TensorEntry, TensorMap, modules, table
from archcalc.hf.vocabulary import LLAMA_OUTSIDE, flag, positive, rmsnorm, size

if TYPE_CHECKING:
    from archcalc.spec.document import Document

LOW, HIGH = size("L_cycles", 3), size("H_cycles", 2)
# The last low runs of each cycle that training computes gradients of; left out of the first cycles: one.
GRADED = Key("L_bp_cycles", INDICES, (2,), null=(2,))
HEADS = size("num_attention_heads", 12)
# Where the number of layers of both modules is stated, the other key counts those of all runs.
DEPTH = size("num_hidden_layers", 16)
DEPTH_OF_EACH = Key("num_layers_per_stack", SIZE, DEPTH.read, null=DEPTH.read)
RANGE = positive("initializer_range", 0.02)
GATE = {"activation": "sigmoid", "over": "channel", "projection_bias": flag("attention_bias", False)}
LAYER = {f"attn.{part}": f"self_attn.{part}_proj" for part in ("q", "k", "v", "gate")}
LAYER |= {"attn.out": "self_attn.o_proj", **{f"ffn.{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")}}


def embedding_scale(config: Config) -> float:
    """Return the factor of the token table if none is stated."""
    return 1 / float(RANGE.read(config))


SCALE = Key("embedding_scale", RANGE.value_type, embedding_scale, null=embedding_scale)


@final
class CycleStackLens(ConfigLens, Struct, frozen=True):
    """A stack of the layers of all runs, of which only the first of each module have weights of their own."""

    layer: Template
    stack_fields: Template

    def names(self) -> Iterator[str]:
        """Yield the keys of the counts, of a layer, and of the other fields."""
        for part in (LOW, HIGH, GRADED, DEPTH, DEPTH_OF_EACH):
            yield from part.names()
        yield from names(self.layer)
        yield from names(self.stack_fields)

    def read(self, config: Config) -> Document:
        """Return the runs of both modules in turn."""
        n_low, n_high, n_layers = LOW.read(config), HIGH.read(config), DEPTH_OF_EACH.read(config)
        layer = read(self.layer, config)
        runs: list[Document] = []
        for n_graded in graded(config, n_high):
            for low in range(n_low):
                own = (
                    {"name": "without_gradient", "detached": True}
                    if low < n_low - n_graded
                    else {"name": "with_gradient"}
                )
                runs.append({"count": n_layers, "pattern": [layer | own], "weights_of": 0 if runs else None})
            owner = n_low if len(runs) > n_low else None
            runs.append({"count": n_layers, "pattern": [layer | {"name": "with_gradient"}], "weights_of": owner})
        cycles = {"n_low": n_low, "n_high": n_high}
        return {"n_layers": n_layers * len(runs), "runs": runs, "cycles": cycles, **read(self.stack_fields, config)}

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the counts, and the keys of the first layer. Reading back shows whether all layers are equal."""
        cycles = value["cycles"] if value else None
        if cycles is None:
            raise MismatchError
        n_low, n_high, runs = cycles["n_low"], cycles["n_high"], value["runs"]
        if len(runs) != n_high * (n_low + 1):
            raise MismatchError
        write(self.layer, runs[0]["pattern"][0], draft)
        draft.put(DEPTH.name, runs[0]["count"])
        draft.put(LOW.name, n_low)
        draft.put(HIGH.name, n_high)
        starts = range(0, len(runs), n_low + 1)
        detached = [[run["pattern"][0]["detached"] for run in runs[k : k + n_low]] for k in starts]
        draft.put(GRADED.name, [each.count(False) for each in detached])
        write(self.stack_fields, value, draft)


def graded(config: Config, n_high: int) -> list[int]:
    """Return for each cycle the number of low runs, the last ones, that training computes gradients of."""
    stated = list(GRADED.read(config))
    return [*[1] * (n_high - len(stated)), *stated][:n_high]


def places(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the prefix of each layer with weights, ours and the class's: those of each module's first run."""
    n_low, n_layers = LOW.read(config), DEPTH_OF_EACH.read(config)
    for first, module in ((0, "L"), (n_low * n_layers, "H")):
        yield from ((f"layers.{first + i}.", f"model.{module}_module.layers.{i}.") for i in range(n_layers))


def tensors(config: Config) -> TensorMap:
    """Return the tensors of the class."""
    layers = [entry for place in places(config) for entry in modules(LAYER, *place)]
    return table(TensorEntry("model.z_L_init", ("cycles.start",)), *layers, LLAMA_OUTSIDE)


def spelling(config: Config) -> Spelling:
    """Return how files store the weights: gate, queries, keys and values in one, and both of the feed-forward."""
    joined = {
        "attn.gqkv_proj": tuple(f"attn.{name}" for name in ("gate", "q", "k", "v")),
        "mlp.gate_up_proj": ("ffn.gate", "ffn.up"),
    }
    fused = tuple(
        TensorEntry(f"{theirs}{name}.weight", tuple(f"{ours}{part}.weight" for part in parts))
        for ours, theirs in places(config)
        for name, parts in joined.items()
    )
    return replace(TIED, renames={r"\.attn\.o_proj\.": ".self_attn.o_proj."}, fused=fused)


def hrm_text() -> Family:
    """Return HRM-Text's row: LLaMA with gated attention and weightless norms, in two modules."""
    base = derive(
        LLAMA,
        "hrm_text",
        "HrmTextForCausalLM",
        vocab=151808,
        width=1536,
        depth=16,
        heads=12,
        d_head=128,
        d_ff=4096,
        norm=rmsnorm(1e-6) | {"weight": False},
        attention={**BIASED, "n_kv_heads": ImpliedValue(HEADS.read), "gate": GATE},
        ffn={"bias": MLP_BIAS},
        model_fields={"embedding": {"scale": SCALE}},
        gguf=None,
    ).family
    stack = base.template["decoder"]
    assert isinstance(stack, StackLens), "the template of a decoder has a stack"
    lens = CycleStackLens(stack.kinds["layer"], {**stack.stack_fields, "prefix": flag("prefix_lm", True)})
    return replace(
        base,
        template={**base.template, "decoder": lens},
        tensors_of=tensors,
        spelling_of=spelling,
    )


FAMILIES = (hrm_text(),)
