"""BERT and its kin, a row each: what a row leaves out is as in BERT, or as in the row it derives from."""

from collections.abc import Iterator
from typing import Any, final

import msgspec

from archcalc.hf.config import COUNT, SIZE, TEXT, Config
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import (
    EMBEDDING_KEYS,
    ENCODER_ENTRIES,
    FUSED_QKV,
    KV_HEADS,
    LAYERNORM_SIZES,
    NORM_EPS,
    UNPERMUTED_ENTRIES,
    GgufMap,
    embedding_model,
)
from archcalc.hf.heads import LABELS, extra_modules, scores, summary_switch
from archcalc.hf.lens import Cases, Choice, ConfigDraft, ConfigLens, Constraint, ImpliedValue, Key, NullCases
from archcalc.hf.rope import RopeLens
from archcalc.hf.templates.bert_like import (
    EMBEDDING_NAMES,
    LAYER_NAMES,
    ContextAfterPadding,
    HeadNames,
    PaddingRows,
    SingleItem,
    bert_like,
)
from archcalc.hf.tensors import TensorEntry, fused_modules, modules, table
from archcalc.hf.vocabulary import (
    ACTIVATIONS,
    QKV,
    EmbeddingFactor,
    activation,
    biases,
    dropout,
    flag,
    layernorm,
    layers,
    positive,
    size,
)

# What transformers 5 does not read, and files of older versions may say.
ABSOLUTE = Constraint("position_embedding_type", ("absolute",))

GGUF_SIZES = {key: name for key, name in LAYERNORM_SIZES.items() if key != KV_HEADS} | {NORM_EPS: "layer_norm_eps"}
BERT = bert_like(
    "bert",
    "BertForMaskedLM",
    "BertLMHeadModel",
    root="bert",
    vocab_size=size("vocab_size", 30522),
    n_ctx=size("max_position_embeddings", 512),
    d_model=size("hidden_size", 768),
    n_layers=layers(12),
    n_heads=size("num_attention_heads", 12),
    d_ff=size("intermediate_size", 3072),
    activation=activation("gelu"),
    norm=layernorm(1e-12, "layer_norm_eps"),
    n_types=size("type_vocab_size", 2),
    positions={"kind": "learned"},
    attention=biases(True),
    ffn={"kind": "plain", "bias": True},
    causal_key=flag("is_decoder", False, null=False),
    dropout=dropout("hidden_dropout_prob", 0.1),
    attention_dropout=dropout("attention_probs_dropout_prob", 0.1),
    names=EMBEDDING_NAMES | LAYER_NAMES,
    head_names=HeadNames(
        decoder="cls.predictions.decoder",
        bias="cls.predictions.bias",
        has_decoder_bias=True,
        transform="cls.predictions.transform.dense",
        norm="cls.predictions.transform.LayerNorm",
    ),
    constraints=(ABSOLUTE,),
    irrelevant="directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head"
    " pooler_type",
    unused={r"cls\.seq_relationship\..*": "the next-sentence head, which the masked-LM class does not have"},
    gguf=GgufMap(
        "bert",
        GGUF_SIZES,
        table(ENCODER_ENTRIES, UNPERMUTED_ENTRIES),
        config_keys=embedding_model("BertModel"),
        own_keys=EMBEDDING_KEYS,
        missing=("pooler",),
    ),
)
PRE_NORMS = {
    "layers.{i}.attn_norm": "{root}.encoder.layer.{i}.attention.ln",
    "layers.{i}.ffn_norm": "{root}.encoder.layer.{i}.ln",
    "final_norm": "{root}.encoder.ln",
}
MEGATRON = derive(
    BERT,
    "megatron-bert",
    "MegatronBertForMaskedLM",
    "MegatronBertForCausalLM",
    vocab_size=size("vocab_size", 29056),
    d_model=size("hidden_size", 1024),
    n_layers=layers(24),
    n_heads=size("num_attention_heads", 16),
    d_ff=size("intermediate_size", 4096),
    embed_norm=False,
    placement="pre",
    final_norm=True,
    names=EMBEDDING_NAMES | LAYER_NAMES | PRE_NORMS,
)
BERT_GENERATION = derive(
    MEGATRON,
    "bert-generation",
    "BertGenerationDecoder",
    pooler=None,
    vocab_size=size("vocab_size", 50358),
    n_types=None,
    embed_norm=True,
    placement="post",
    final_norm=False,
    transform=False,
    names=EMBEDDING_NAMES | LAYER_NAMES,
    head_names=HeadNames(decoder="lm_head.decoder", bias="lm_head.bias", has_decoder_bias=True),
    irrelevant="type_vocab_size",
)

# Positions start after the padding token's, and the head's activation is fixed.
BEFORE = PaddingRows(Key("pad_token_id", COUNT, 1, null=None))
ROBERTA = derive(
    BERT,
    "roberta",
    "RobertaForMaskedLM",
    "RobertaForCausalLM",
    root="roberta",
    vocab_size=size("vocab_size", 50265),
    n_ctx=ContextAfterPadding(size("max_position_embeddings", 512), BEFORE),
    positions={"kind": "learned", "n_extra": BEFORE},
    head_activation="gelu",
    head_names=HeadNames(
        decoder="lm_head.decoder",
        bias="lm_head.bias",
        has_decoder_bias=True,
        transform="lm_head.dense",
        norm="lm_head.layer_norm",
    ),
    irrelevant="",
    unused={},
)
CAMEMBERT = derive(
    ROBERTA,
    "camembert",
    "CamembertForMaskedLM",
    "CamembertForCausalLM",
    vocab_size=size("vocab_size", 30522),
    is_stored_as_head=True,
)
XLM_ROBERTA = derive(
    CAMEMBERT,
    "xlm-roberta",
    "XLMRobertaForMaskedLM",
    "XLMRobertaForCausalLM",
)
DATA2VEC = derive(
    CAMEMBERT,
    "data2vec-text",
    "Data2VecTextForMaskedLM",
    "Data2VecTextForCausalLM",
    root="data2vec_text",
    is_stored_as_head=False,
)
IBERT = derive(
    DATA2VEC,
    "ibert",
    "IBertForMaskedLM",
    root="ibert",
    causal_key=None,
    activation=activation("gelu", meanings={"gelu": "gelu"}),
    run_constraints=(Constraint("quant_mode", (False,)),),
    irrelevant="force_dequant",
    unused={
        r".*(_act|_activation|\.act|\.activation|_act\d)\.(x_min|x_max|act_scaling_factor)": "ranges of quantization",
        r".*(_integer|_scaling_factor|\.LayerNorm\.shift)": "numbers of quantization",
    },
)
XLM_ROBERTA_XL = derive(
    ROBERTA,
    "xlm-roberta-xl",
    "XLMRobertaXLForMaskedLM",
    "XLMRobertaXLForCausalLM",
    vocab_size=size("vocab_size", 250880),
    n_ctx=ContextAfterPadding(size("max_position_embeddings", 514), BEFORE),
    d_model=size("hidden_size", 2560),
    n_layers=layers(36),
    n_heads=size("num_attention_heads", 32),
    d_ff=size("intermediate_size", 10240),
    norm=layernorm(1e-5, "layer_norm_eps"),
    n_types=size("type_vocab_size", 1),
    embed_norm=False,
    placement="pre",
    final_norm=True,
    names=EMBEDDING_NAMES
    | LAYER_NAMES
    | {
        "layers.{i}.attn_norm": "{root}.encoder.layer.{i}.attention.self_attn_layer_norm",
        "layers.{i}.ffn_norm": "{root}.encoder.layer.{i}.LayerNorm",
        "final_norm": "{root}.encoder.LayerNorm",
    },
)
ROBERTA_PRE = derive(
    ROBERTA,
    "roberta-prelayernorm",
    "RobertaPreLayerNormForMaskedLM",
    "RobertaPreLayerNormForCausalLM",
    root="roberta_prelayernorm",
    placement="pre",
    final_norm=True,
    names=EMBEDDING_NAMES
    | LAYER_NAMES
    | {
        "layers.{i}.attn_norm": "{root}.encoder.layer.{i}.attention.LayerNorm",
        "layers.{i}.ffn_norm": "{root}.encoder.layer.{i}.intermediate.LayerNorm",
        "final_norm": "{root}.LayerNorm",
    },
)

# The padding token is 1 whatever the config says.
BEFORE_1 = PaddingRows(ImpliedValue(1))
MPNET = derive(
    ROBERTA,
    "mpnet",
    "MPNetForMaskedLM",
    root="mpnet",
    vocab_size=size("vocab_size", 30527),
    n_ctx=ContextAfterPadding(size("max_position_embeddings", 512), BEFORE_1),
    n_types=None,
    positions={"kind": "learned", "n_extra": BEFORE_1},
    attention=biases(True)
    | {
        "position": {
            "kind": "relative",
            "n_buckets": size("relative_attention_num_buckets", 32),
            "max_distance": 128,
        }
    },
    causal_key=None,
    names=EMBEDDING_NAMES
    | LAYER_NAMES
    | {
        "layers.{i}.attn.q": "{root}.encoder.layer.{i}.attention.attn.q",
        "layers.{i}.attn.k": "{root}.encoder.layer.{i}.attention.attn.k",
        "layers.{i}.attn.v": "{root}.encoder.layer.{i}.attention.attn.v",
        "layers.{i}.attn.out": "{root}.encoder.layer.{i}.attention.attn.o",
        "layers.{i}.attn_norm": "{root}.encoder.layer.{i}.attention.LayerNorm",
        "relative_bias": "{root}.encoder.relative_attention_bias",
    },
    # transformers computes 32 buckets whatever the config says.
    run_constraints=(Constraint("relative_attention_num_buckets", (32,)),),
    irrelevant="type_vocab_size",
)

# Tells of each token whether it was replaced.
DISCRIMINATOR = {"head": scores(1) | {"transform": {"activation": activation("gelu"), "bias": True}}}

# One vocabulary bias, tied or not.
ELECTRA = derive(
    BERT,
    "electra",
    "ElectraForMaskedLM",
    "ElectraForCausalLM",
    pooler=None,
    classifier="gelu",
    class_heads={"ForPreTraining": DISCRIMINATOR},
    root="electra",
    d_model=size("hidden_size", 256),
    n_heads=size("num_attention_heads", 4),
    d_ff=size("intermediate_size", 1024),
    factor=EmbeddingFactor(
        size("embedding_size", 128), size("hidden_size", 256), {"bias": True, "widen": "after_positions"}
    ),
    head_activation="gelu",
    names=EMBEDDING_NAMES | LAYER_NAMES | {"embed.project": "{root}.embeddings_project"},
    head_names=HeadNames(
        decoder="generator_lm_head",
        bias="generator_lm_head.bias",
        transform="generator_predictions.dense",
        norm="generator_predictions.LayerNorm",
    ),
    head_width=size("embedding_size", 128),
    irrelevant="summary_type summary_use_proj summary_activation summary_last_dropout",
    unused={r"discriminator_predictions\..*": "the discriminator's head, which the generator does not have"},
)
DISTILBERT = derive(
    BERT,
    "distilbert",
    "DistilBertForMaskedLM",
    pooler=None,
    classifier="relu",
    root="distilbert",
    d_model=size("dim", 768, aliases=("hidden_size",)),
    n_layers=layers(6, "n_layers", aliases=("num_hidden_layers",)),
    n_heads=size("n_heads", 12, aliases=("num_attention_heads",)),
    d_ff=size("hidden_dim", 3072),
    activation=activation("gelu", "activation"),
    norm={"kind": "layernorm", "eps": 1e-12},
    n_types=None,
    causal_key=None,
    dropout=dropout("dropout", 0.1),
    attention_dropout=dropout("attention_dropout", 0.1),
    names=EMBEDDING_NAMES
    | {
        "layers.{i}.attn.q": "{root}.transformer.layer.{i}.attention.q_lin",
        "layers.{i}.attn.k": "{root}.transformer.layer.{i}.attention.k_lin",
        "layers.{i}.attn.v": "{root}.transformer.layer.{i}.attention.v_lin",
        "layers.{i}.attn.out": "{root}.transformer.layer.{i}.attention.out_lin",
        "layers.{i}.attn_norm": "{root}.transformer.layer.{i}.sa_layer_norm",
        "layers.{i}.ffn.up": "{root}.transformer.layer.{i}.ffn.lin1",
        "layers.{i}.ffn.down": "{root}.transformer.layer.{i}.ffn.lin2",
        "layers.{i}.ffn_norm": "{root}.transformer.layer.{i}.output_layer_norm",
    },
    head_names=HeadNames(
        decoder="vocab_projector", bias="vocab_projector.bias", transform="vocab_transform", norm="vocab_layer_norm"
    ),
    positions=Cases(
        flag("sinusoidal_pos_embds", False),
        {False: {"kind": "learned"}, True: {"kind": "sinusoidal", "stored": True}},
    ),
    irrelevant="qa_dropout seq_classif_dropout",
    unused={},
)

ALBERT = derive(
    BERT,
    "albert",
    "AlbertForMaskedLM",
    n_relations=LABELS,
    root="albert",
    vocab_size=size("vocab_size", 30000),
    d_model=size("hidden_size", 4096),
    n_heads=size("num_attention_heads", 64),
    d_ff=size("intermediate_size", 16384),
    activation=activation("gelu_new"),
    factor={"d_embed": size("embedding_size", 128), "bias": True, "widen": "after_positions"},
    causal_key=None,
    groups=(size("num_hidden_groups", 1), size("inner_group_num", 1)),
    dropout=dropout("hidden_dropout_prob", 0.0),
    attention_dropout=dropout("attention_probs_dropout_prob", 0.0),
    names=EMBEDDING_NAMES
    | {
        "embed.project": "{root}.encoder.embedding_hidden_mapping_in",
        "layers.{i}.attn.q": "{root}.encoder.albert_layer_groups.{g}.albert_layers.{j}.attention.query",
        "layers.{i}.attn.k": "{root}.encoder.albert_layer_groups.{g}.albert_layers.{j}.attention.key",
        "layers.{i}.attn.v": "{root}.encoder.albert_layer_groups.{g}.albert_layers.{j}.attention.value",
        "layers.{i}.attn.out": "{root}.encoder.albert_layer_groups.{g}.albert_layers.{j}.attention.dense",
        "layers.{i}.attn_norm": "{root}.encoder.albert_layer_groups.{g}.albert_layers.{j}.attention.LayerNorm",
        "layers.{i}.ffn.up": "{root}.encoder.albert_layer_groups.{g}.albert_layers.{j}.ffn",
        "layers.{i}.ffn.down": "{root}.encoder.albert_layer_groups.{g}.albert_layers.{j}.ffn_output",
        "layers.{i}.ffn_norm": "{root}.encoder.albert_layer_groups.{g}.albert_layers.{j}.full_layer_layer_norm",
    },
    head_names=HeadNames(
        decoder="predictions.decoder",
        bias="predictions.bias",
        has_decoder_bias=True,
        transform="predictions.dense",
        norm="predictions.LayerNorm",
        pooler="{root}.pooler",
        relation="sop_classifier.classifier",
    ),
    head_width=size("embedding_size", 128),
    irrelevant="classifier_dropout_prob down_scale_factor gap_size layers_to_keep net_structure_type num_memory_blocks",
    unused={
        r"albert\.pooler_activation\..*": "the pooler, which the masked-LM class does not have",
        r"sop_classifier\..*": "the sentence-order head, which the masked-LM class does not have",
    },
)

# Rotary positions, and the names of newer ports.
NEWER = {
    "layers.{i}.attn.q": "{root}.layers.{i}.self_attn.q_proj",
    "layers.{i}.attn.k": "{root}.layers.{i}.self_attn.k_proj",
    "layers.{i}.attn.v": "{root}.layers.{i}.self_attn.v_proj",
    "layers.{i}.attn.out": "{root}.layers.{i}.self_attn.o_proj",
    "layers.{i}.attn_norm": "{root}.layers.{i}.post_attention_layernorm",
    "layers.{i}.ffn_norm": "{root}.layers.{i}.post_mlp_layernorm",
}
PLAIN_FFN = {"layers.{i}.ffn.up": "{root}.layers.{i}.mlp.fc1", "layers.{i}.ffn.down": "{root}.layers.{i}.mlp.fc2"}
GATED_FFN = {
    "layers.{i}.ffn.gate": "{root}.layers.{i}.mlp.gate_proj",
    "layers.{i}.ffn.up": "{root}.layers.{i}.mlp.up_proj",
    "layers.{i}.ffn.down": "{root}.layers.{i}.mlp.down_proj",
}
STORED = {
    r"\.emb_ln\.": ".embeddings.LayerNorm.",
    r"\.encoder\.layers\.": ".layers.",
    r"\.(mixer|attn)\.out_proj\.": ".self_attn.o_proj.",
    r"\.norm1\.": ".post_attention_layernorm.",
    r"\.norm2\.": ".post_mlp_layernorm.",
}
JINA = derive(
    XLM_ROBERTA,
    "jina_embeddings_v3",
    "JinaEmbeddingsV3ForMaskedLM",
    vocab_size=size("vocab_size", 250002),
    n_ctx=size("max_position_embeddings", 8194),
    d_model=size("hidden_size", 1024),
    n_layers=layers(24),
    n_heads=size("num_attention_heads", 16),
    d_ff=size("intermediate_size", 4096),
    norm=layernorm(1e-5, "layer_norm_eps"),
    n_types=size("type_vocab_size", 1),
    positions=None,
    attention=biases(True) | {"position": RopeLens(20_000.0)},
    causal_key=None,
    names=EMBEDDING_NAMES | NEWER | PLAIN_FFN,
    stored_names=STORED,
    fused_entries=fused_modules(QKV, "roberta.layers.{i}.mixer.Wqkv"),
    gguf=GgufMap(
        "jina-bert-v3",
        GGUF_SIZES,
        table(ENCODER_ENTRIES, FUSED_QKV, UNPERMUTED_ENTRIES),
        config_keys=embedding_model("JinaEmbeddingsV3Model"),
        own_keys=EMBEDDING_KEYS,
        missing=("pooler",),
    ),
)
NOMIC = derive(
    BERT,
    "nomic_bert",
    "NomicBertForMaskedLM",
    pooler=None,
    root="nomic_bert",
    vocab_size=size("vocab_size", 30528),
    n_ctx=size("max_position_embeddings", 2048),
    activation=activation("silu"),
    positions=None,
    attention=biases(False) | {"d_head": size("head_dim", None, null=None), "position": RopeLens(1_000.0)},
    ffn={"kind": "gated", "bias": False},
    causal_key=None,
    dropout=dropout("hidden_dropout_prob", 0.0),
    attention_dropout=dropout("attention_probs_dropout_prob", 0.0),
    names=EMBEDDING_NAMES | NEWER | GATED_FFN,
    head_names=HeadNames(
        decoder="cls.predictions.decoder",
        bias="cls.predictions.bias",
        has_decoder_bias=True,
        transform="cls.predictions.transform.dense",
        norm="cls.predictions.transform.layer_norm",
    ),
    irrelevant="",
    stored_names=STORED
    | {
        r"\.mlp\.fc11\.": ".mlp.up_proj.",
        r"\.mlp\.fc12\.": ".mlp.gate_proj.",
        r"\.mlp\.fc2\.": ".mlp.down_proj.",
    },
    fused_entries=fused_modules(QKV, "nomic_bert.layers.{i}.attn.Wqkv"),
    gguf=GgufMap(
        "nomic-bert",
        GGUF_SIZES,
        table(ENCODER_ENTRIES, FUSED_QKV, UNPERMUTED_ENTRIES),
        config_keys=embedding_model("NomicBertModel"),
        own_keys=EMBEDDING_KEYS,
    ),
)
ERNIE = derive(
    BERT,
    "ernie",
    "ErnieForMaskedLM",
    "ErnieForCausalLM",
    root="ernie",
    tables=Cases(
        flag("use_task_id", False),
        {
            False: (),
            True: SingleItem({"name": "task_types", "n_rows": size("task_type_vocab_size", 3), "default_row": 0}),
        },
    ),
    names=EMBEDDING_NAMES | LAYER_NAMES | {"embed.tables.task_types": "{root}.embeddings.task_type_embeddings"},
    irrelevant="task_type_vocab_size",
)


@final
class LanguageTable(ConfigLens, msgspec.Struct, frozen=True):
    """XLM's table of languages, which only tokens that name theirs read; one language needs none."""

    n_langs: Key

    def names(self) -> Iterator[str]:
        """Yield the key of the number of languages."""
        yield from self.n_langs.names()

    def read(self, config: Config) -> tuple[dict[str, Any], ...]:
        """Return the table of languages, or none."""
        n_langs = self.n_langs.read(config)
        return ({"name": "languages", "n_rows": n_langs, "default_row": None},) if n_langs > 1 else ()

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Write the number of languages."""
        draft.put(self.n_langs.name, value[0]["n_rows"] if value else 1)


# The newest of the old ones: names of their own, a width that is stated nowhere.
XLM_HARMLESS = (
    "embed_init_std init_std unk_index mask_index bos_index eos_index pad_index lang_id start_n_top end_n_top"
    " summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout n_langs"
    " id2lang lang2id"
)
WIDTH = size("emb_dim", 2048, aliases=("hidden_size",))
# The state that stands for a text. Without an index of its own, "cls_index" is the last token.
SUMMARY_READS = Choice(
    Key("summary_type", TEXT, "first"), {"first": "first", "last": "last", "mean": "mean", "cls_index": "last"}
)
SUMMARY_WIDTH = Cases(flag("summary_proj_to_labels", True), {True: LABELS, False: WIDTH})
ACTIVATION_KEY = Key("summary_activation", TEXT, None, null=None)
SUMMARY_ACTIVATION = NullCases(ACTIVATION_KEY, "identity", Choice(ACTIVATION_KEY, ACTIVATIONS))
PROJECTED = summary_switch("summary_use_proj", True)
# Scores of starts are the logits; those of ends and of whether there is an answer depend on the start that is chosen.
ENDS_AFTER_STARTS = extra_modules(
    {
        "end_logits.dense_0": ("d_model", "twice_d_model"),
        "end_logits.norm": ("d_model",),
        "end_logits.dense_1": (1, "d_model"),
        "answer_class.dense_0": ("d_model", "twice_d_model"),
        "answer_class.dense_1": (1, "d_model"),
    },
    no_bias=("answer_class.dense_1",),
)
XLM = derive(
    BERT,
    "xlm",
    "XLMWithLMHeadModel",
    pooler=None,
    classifier=None,
    class_heads={
        "ForSequenceClassification": {"head": scores(SUMMARY_WIDTH, bias=PROJECTED, reads=SUMMARY_READS)},
        "ForMultipleChoice": {
            "head": scores(summary_switch("summary_proj_to_labels", 1), reads=SUMMARY_READS)
            | {"d_in": LABELS, "transform": {"activation": SUMMARY_ACTIVATION, "bias": PROJECTED}}
        },
        "ForQuestionAnswering": {"head": scores(1), "extras": ENDS_AFTER_STARTS},
    },
    class_tensors={
        "ForMultipleChoice": modules({"head.transform": "sequence_summary.summary", "head": "logits_proj"}),
        "ForQuestionAnswering": modules(
            {
                "head": "qa_outputs.start_logits.dense",
                "extras.end_logits.dense_0": "qa_outputs.end_logits.dense_0",
                "extras.end_logits.norm": "qa_outputs.end_logits.LayerNorm",
                "extras.end_logits.dense_1": "qa_outputs.end_logits.dense_1",
                "extras.answer_class.dense_0": "qa_outputs.answer_class.dense_0",
                "extras.answer_class.dense_1": "qa_outputs.answer_class.dense_1",
            }
        ),
    },
    root="transformer",
    vocab_size=size("vocab_size", 30145, aliases=("n_words",)),
    d_model=WIDTH,
    n_layers=layers(12, "n_layers", aliases=("num_hidden_layers",)),
    n_heads=size("n_heads", 16, aliases=("num_attention_heads",)),
    d_ff=ImpliedValue(lambda config: 4 * WIDTH.read(config)),
    activation=Cases(flag("gelu_activation", True), {True: "gelu", False: "relu"}),
    n_types=None,
    positions=Cases(
        flag("sinusoidal_embeddings", False),
        {False: {"kind": "learned"}, True: {"kind": "sinusoidal", "stored": True}},
    ),
    causal_key=flag("causal", False),
    transform=False,
    dropout=dropout("dropout", 0.1),
    attention_dropout=dropout("attention_dropout", 0.1),
    names={
        "embed.tokens": "{root}.embeddings",
        "embed.tables.languages": "{root}.lang_embeddings",
        "positions": "{root}.position_embeddings",
        "embed_norm": "{root}.layer_norm_emb",
        "layers.{i}.attn.q": "{root}.attentions.{i}.q_lin",
        "layers.{i}.attn.k": "{root}.attentions.{i}.k_lin",
        "layers.{i}.attn.v": "{root}.attentions.{i}.v_lin",
        "layers.{i}.attn.out": "{root}.attentions.{i}.out_lin",
        "layers.{i}.attn_norm": "{root}.layer_norm1.{i}",
        "layers.{i}.ffn.up": "{root}.ffns.{i}.lin1",
        "layers.{i}.ffn.down": "{root}.ffns.{i}.lin2",
        "layers.{i}.ffn_norm": "{root}.layer_norm2.{i}",
    },
    head_names=HeadNames(decoder="pred_layer.proj", bias="pred_layer.proj.bias"),
    tables=Cases(flag("use_lang_emb", True), {True: LanguageTable(size("n_langs", 1)), False: ()}),
    constraints=(ABSOLUTE, Constraint("asm", (False,)), Constraint("is_encoder", (True,))),
    irrelevant=XLM_HARMLESS,
    unused={},
)
FLAUBERT = derive(
    XLM,
    "flaubert",
    "FlaubertWithLMHeadModel",
    placement=Cases(flag("pre_norm", False), {False: "post", True: "pre"}),
    irrelevant=f"{XLM_HARMLESS} layerdrop",
)

# ESM: norms before, no types, positions of either kind.
KIND = Choice(Key("position_embedding_type", TEXT, "absolute"), {"absolute": "table", "rotary": "rope"})
NO_PAD = PaddingRows(Key("pad_token_id", COUNT, None, null=None))
ESM = derive(
    ROBERTA_PRE,
    "esm",
    "EsmForMaskedLM",
    root="esm",
    vocab_size=Key("vocab_size", SIZE),
    n_ctx=Cases(
        KIND,
        {
            "table": ContextAfterPadding(size("max_position_embeddings", 1026), NO_PAD),
            "rope": size("max_position_embeddings", 1026),
        },
    ),
    activation="gelu",
    n_types=None,
    token_dropout=Cases(
        flag("token_dropout", False, null=False),
        {True: {"mask_id": Key("mask_token_id", COUNT), "share": 0.12}, False: None},
    ),
    positions=Cases(KIND, {"table": {"kind": "learned", "n_extra": NO_PAD}, "rope": None}),
    embed_norm=flag("emb_layer_norm_before", False, null=False),
    attention=biases(True)
    | {"position": Cases(KIND, {"table": None, "rope": {"kind": "rope", "theta": positive("rope_theta", 10_000.0)}})},
    extras=(
        {"name": "contact_head.weight", "axes": (1, "all_heads"), "component": "other", "storage": "trainable"},
        {"name": "contact_head.bias", "axes": (1,), "component": "other", "storage": "trainable"},
    ),
    names=EMBEDDING_NAMES
    | LAYER_NAMES
    | {
        "embed_norm": "{root}.embeddings.layer_norm",
        "layers.{i}.attn_norm": "{root}.encoder.layer.{i}.attention.LayerNorm",
        "layers.{i}.ffn_norm": "{root}.encoder.layer.{i}.LayerNorm",
        "final_norm": "{root}.encoder.emb_layer_norm_after",
        "extras.contact_head": "{root}.contact_head.regression",
    },
    head_names=HeadNames(
        decoder="lm_head.decoder", bias="lm_head.bias", transform="lm_head.dense", norm="lm_head.layer_norm"
    ),
    constraints=(),
    irrelevant="is_folding_model esmfold_config vocab_list mask_token_id",
    # Without one, the class numbers no positions, though its rope needs none of these.
    fixed_keys={"pad_token_id": 1},
    unused={r".*rotary_embeddings\.inv_freq": "follows from the config"},
)

# A head of another width than the table, never tied.
REMBERT = derive(
    BERT,
    "rembert",
    "RemBertForMaskedLM",
    "RemBertForCausalLM",
    root="rembert",
    vocab_size=size("vocab_size", 250300),
    d_model=size("hidden_size", 1152),
    n_layers=layers(32),
    n_heads=size("num_attention_heads", 18),
    d_ff=size("intermediate_size", 4608),
    factor={"d_embed": size("input_embedding_size", 256), "bias": True, "widen": "after_positions"},
    tied=False,
    head_width=size("output_embedding_size", 1664),
    dropout=dropout("hidden_dropout_prob", 0.0),
    attention_dropout=dropout("attention_probs_dropout_prob", 0.0),
    names=EMBEDDING_NAMES | LAYER_NAMES | {"embed.project": "{root}.encoder.embedding_hidden_mapping_in"},
    head_names=HeadNames(
        decoder="cls.predictions.decoder",
        bias="cls.predictions.decoder.bias",
        transform="cls.predictions.dense",
        norm="cls.predictions.LayerNorm",
    ),
    irrelevant="tie_word_embeddings classifier_dropout_prob",
)

ROFORMER_WIDTH = size("hidden_size", 768)
ROFORMER_TABLE = size("embedding_size", ROFORMER_WIDTH.read, null=ROFORMER_WIDTH.read)
ROFORMER = derive(
    BERT,
    "roformer",
    "RoFormerForMaskedLM",
    "RoFormerForCausalLM",
    pooler=None,
    classifier=activation("gelu"),
    class_heads={"ForMultipleChoice": {"head": scores(1, reads="last")}},
    root="roformer",
    vocab_size=size("vocab_size", 50000),
    n_ctx=size("max_position_embeddings", 1536),
    d_model=ROFORMER_WIDTH,
    factor=EmbeddingFactor(ROFORMER_TABLE, ROFORMER_WIDTH, {"bias": True, "widen": "after_positions"}),
    positions=None,
    attention=biases(True)
    | {
        "position": {
            "kind": "rope",
            "theta": 10_000.0,
            "interleaved": True,
            "stored": True,
            "values": flag("rotary_value", False),
        }
    },
    head_width=ROFORMER_TABLE,
    names=EMBEDDING_NAMES
    | LAYER_NAMES
    | {"embed.project": "{root}.embeddings_project", "rotary": "{root}.encoder.embed_positions"},
    computed=("rotary.weight",),
    irrelevant="",
)

GTE = derive(
    JINA,
    "gte",
    "GteForMaskedLM",
    pooler=None,
    root="gte",
    vocab_size=size("vocab_size", 250048),
    n_ctx=size("max_position_embeddings", 8192),
    d_model=size("hidden_size", 768),
    n_layers=layers(12),
    n_heads=size("num_attention_heads", 12),
    d_ff=size("intermediate_size", 3072),
    norm=layernorm(1e-12, "layer_norm_eps"),
    n_types=Key("type_vocab_size", COUNT, 1),
    attention=biases(True) | {"position": RopeLens(160_000.0)},
    ffn={"kind": "gated", "bias": False, "down_bias": True},
    attention_dropout=dropout("attention_probs_dropout_prob", 0.0),
    names=EMBEDDING_NAMES | NEWER | GATED_FFN,
    head_names=HeadNames(
        decoder="lm_head.decoder",
        bias="lm_head.decoder.bias",
        transform="lm_head.dense",
        norm="lm_head.layer_norm",
    ),
    is_stored_as_head=False,
    stored_names={
        r"^new\.": "gte.",
        r"\.encoder\.layer\.": ".layers.",
        r"\.attention\.o_proj\.": ".self_attn.o_proj.",
        r"\.attn_ln\.": ".post_attention_layernorm.",
        r"\.mlp_ln\.": ".post_mlp_layernorm.",
        r"^lm_head\.norm\.": "lm_head.layer_norm.",
    },
    fused_entries=(
        *fused_modules(QKV, "gte.layers.{i}.attention.qkv_proj"),
        TensorEntry(
            "gte.layers.{i}.mlp.up_gate_proj.weight",
            ("layers.{i}.ffn.up.weight", "layers.{i}.ffn.gate.weight"),
        ),
    ),
)

FAMILIES = (
    BERT,
    ROBERTA,
    ALBERT,
    DISTILBERT,
    ELECTRA,
    XLM_ROBERTA,
    CAMEMBERT,
    DATA2VEC,
    XLM_ROBERTA_XL,
    ROBERTA_PRE,
    MEGATRON,
    BERT_GENERATION,
    IBERT,
    MPNET,
    JINA,
    NOMIC,
    ERNIE,
    XLM,
    FLAUBERT,
    ESM,
    REMBERT,
    ROFORMER,
    GTE,
)
