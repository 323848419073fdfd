"""BERT with further tables beside the tokens': places in a spreadsheet or on a page, shapes and sounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import msgspec

from archcalc.hf.config import COUNT, SIZE, Config, ValueType
from archcalc.hf.families.bert_like import ABSOLUTE, BERT
from archcalc.hf.family import derive
from archcalc.hf.heads import extra_modules, scores
from archcalc.hf.lens import Cases, ConfigDraft, ConfigLens, Constraint, Key, MismatchError
from archcalc.hf.templates.bert_like import DECODER_BIAS, EMBEDDING_NAMES, LAYER_NAMES, TIED
from archcalc.hf.tensors import TensorEntry, module
from archcalc.hf.vocabulary import flag, size

_SIZES = ValueType(
    lambda value: isinstance(value, list | tuple) and all(SIZE.allows(item) for item in value), "a list of sizes"
)
EMBEDDINGS = {ours: name for ours, name in EMBEDDING_NAMES.items() if ours != "embed.types"} | LAYER_NAMES


@final
class TypeTables(ConfigLens, msgspec.Struct, frozen=True):
    """A table for each kind of token types: segment, column, row … (TAPAS)."""

    key: Key = Key("type_vocab_sizes", _SIZES, (3, 256, 256, 2, 256, 256, 10))

    def names(self) -> Iterator[str]:
        """Yield the key of the tables' rows."""
        yield from self.key.names()

    def read(self, config: Config) -> tuple[dict[str, Any], ...]:
        """Return the tables, numbered from 0."""
        rows = self.key.read(config)
        return tuple({"name": f"types_{i}", "n_rows": n, "default_row": 0} for i, n in enumerate(rows))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the numbers of rows."""
        draft.put(self.key.name, [table["n_rows"] for table in value])


@final
class AnswerHeads(ConfigLens, msgspec.Struct, frozen=True):
    """The tensors of TAPAS's answers beside the scores of cells: of columns, and of how cells are aggregated."""

    key: Key = Key("num_aggregation_labels", COUNT, 0)

    def names(self) -> Iterator[str]:
        """Yield the key of the number of aggregations."""
        yield from self.key.names()

    def read(self, config: Config) -> tuple[dict[str, Any], ...]:
        """Return the tensors."""
        found = {"pooler": ("d_model", "d_model"), "columns": (1, "d_model")}
        n_labels = self.key.read(config)
        return extra_modules(found | ({"aggregation": (n_labels, "d_model")} if n_labels else {}))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the number of aggregations."""
        found = [extra["axes"][0] for extra in value if extra["name"] == "aggregation.bias"]
        draft.put(self.key.name, found[0] if found else 0)


ANSWER_TENSORS = (
    TensorEntry("output_weights", ("head.weight",), is_flat=True),
    TensorEntry("output_bias", ("head.bias",), is_flat=True),
    TensorEntry("column_output_weights", ("extras.columns.weight",), is_flat=True),
    TensorEntry("column_output_bias", ("extras.columns.bias",), is_flat=True),
    *module("extras.aggregation", "aggregation_classifier"),
    *module("extras.pooler", "tapas.pooler.dense"),
)

# Without types of cells, positions count from the beginning of the text; in a cell they would count from its own.
TAPAS = derive(
    BERT,
    "tapas",
    "TapasForMaskedLM",
    root="tapas",
    n_ctx=size("max_position_embeddings", 1024),
    n_types=None,
    tables=TypeTables(),
    causal_key=None,
    names=EMBEDDINGS | {"embed.tables.types_{i}": "{root}.embeddings.token_type_embeddings_{i}"},
    class_heads={"ForQuestionAnswering": {"head": scores(1), "extras": AnswerHeads()}},
    class_tensors={"ForQuestionAnswering": ANSWER_TENSORS},
    constraints=(ABSOLUTE, Constraint("is_decoder", (False,)), Constraint("add_cross_attention", (False,))),
    irrelevant="positive_label_weight aggregation_loss_weight use_answer_as_supervision answer_loss_importance"
    " use_normalized_answer_loss huber_loss_delta temperature aggregation_temperature use_gumbel_for_cells"
    " use_gumbel_for_aggregation average_approximation_function cell_selection_preference answer_loss_cutoff"
    " max_num_rows max_num_columns average_logits_per_cell select_one_column allow_empty_column_selection"
    " init_cell_selection_weights_to_zero reset_position_index_per_cell disable_per_token_loss aggregation_labels"
    " no_aggregation_label_index num_aggregation_labels",
    unused={},
)


@final
class BoxTables(ConfigLens, msgspec.Struct, frozen=True):
    """Tables of a token's box on the page: of its edges, two in each direction, its height and its width."""

    n_rows: Key

    def names(self) -> Iterator[str]:
        """Yield the key of the tables' rows."""
        yield from self.n_rows.names()

    def read(self, config: Config) -> tuple[dict[str, Any], ...]:
        """Return the tables."""
        n_rows = self.n_rows.read(config)
        return tuple(
            {"name": name, "n_rows": n_rows, "default_row": 0, "n_reads": n_reads} for name, n_reads in BOX.items()
        )

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the number of rows. Raises MismatchError for other tables."""
        n_rows = value[0]["n_rows"] if value else 0
        if {(table["name"], table["n_rows"], table["n_reads"]) for table in value} != {
            (name, n_rows, n_reads) for name, n_reads in BOX.items()
        }:
            raise MismatchError
        draft.put(self.n_rows.name, n_rows)


BOX = {"x": 2, "y": 2, "h": 1, "w": 1}
LAYOUTLM = derive(
    BERT,
    "layoutlm",
    "LayoutLMForMaskedLM",
    root="layoutlm",
    tables=BoxTables(size("max_2d_position_embeddings", 1024)),
    keeps_pooler=True,
    causal_key=None,
    names=EMBEDDING_NAMES
    | LAYER_NAMES
    | {f"embed.tables.{axis}": f"{{root}}.embeddings.{axis}_position_embeddings" for axis in BOX},
    unused={},
)


@final
class SoundTables(ConfigLens, msgspec.Struct, frozen=True):
    """Tables of a character's shape and pronunciation, which stay if they are not used."""

    concat: Key = flag("concat_input", True)

    def names(self) -> Iterator[str]:
        """Yield the keys of the tables' sizes, and of what is used."""
        yield from self.concat.names()
        for key in (key for keys in SOUNDS.values() for key in keys):
            yield from key.names()

    def read(self, config: Config) -> tuple[dict[str, Any], ...]:
        """Return the tables."""
        return tuple(
            {
                "name": name,
                "n_rows": n_rows.read(config),
                "d_table": width.read(config),
                "use": "joined" if self.concat.read(config) and is_used.read(config) else "stored",
            }
            for name, (is_used, n_rows, width) in SOUNDS.items()
        )

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the sizes, and which tables are used. Raises MismatchError for other tables."""
        if [table["name"] for table in value] != list(SOUNDS) or any(table["use"] == "added" for table in value):
            raise MismatchError
        for table, (is_used, n_rows, width) in zip(value, SOUNDS.values(), strict=True):
            draft.put(n_rows.name, table["n_rows"])
            draft.put(width.name, table["d_table"])
            draft.put(is_used.name, table["use"] == "joined")


SOUNDS = {
    "shape": (flag("enable_shape", True), size("shape_vocab_size", 24858), size("shape_embed_dim", 512)),
    "pronunciation": (
        flag("enable_pronunciation", True),
        size("pronunciation_vocab_size", 910),
        size("pronunciation_embed_dim", 768),
    ),
}
POOLER = extra_modules({"pooler": ("d_model", "d_model")})
# Without the projection, shapes and pronunciations count only where a text has them: what is read is words alone.
ROC_BERT = derive(
    BERT,
    "roc_bert",
    "RoCBertForMaskedLM",
    "RoCBertForCausalLM",
    root="roc_bert",
    tables=SoundTables(),
    join=Cases(flag("concat_input", True), {True: {"bias": True}, False: None}),
    names=EMBEDDING_NAMES
    | LAYER_NAMES
    | {
        "embed.tables.shape": "{root}.embeddings.shape_embed",
        "embed.tables.pronunciation": "{root}.embeddings.pronunciation_embed",
        "embed.join": "{root}.embeddings.map_inputs_layer",
    },
    class_heads={"ForPreTraining": {"extras": Cases(TIED, {True: POOLER, False: (*POOLER, DECODER_BIAS)})}},
    unused={},
)

FAMILIES = (LAYOUTLM, ROC_BERT, TAPAS)
