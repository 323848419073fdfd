"""How published checkpoints spell tensors that the class of transformers calls otherwise, family by family, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Names = Mapping[str, str]
MAX_FURTHER = 64


@dataclass(frozen=True)
class Spelling:
    """What stands in files beside, or instead of, the class's own names.

    `renamed`: patterns of stored names → the class's. `one_by_one`: the class's stack → what is stored for each `{e}`
    of it, joined as the stack's row says. `copies`: a name under which another tensor may be stored a second time.
    `absent`: what stands for a tensor that is not stored. `computed`: those that follow from the config.
    `zero`: dropped where all of it is 0. `left`: patterns of what no forward pass reads, each with the reason.
    `further`: the config's key that counts modules which stand after the last layer as if they were layers.
    """

    renamed: Names = field(default_factory=dict)
    one_by_one: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    copies: Names = field(default_factory=dict)
    absent: Names = field(default_factory=dict)
    computed: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    left: Names = field(default_factory=dict)
    further: str | None = None

    def name(self, stored: str) -> str:
        """The class's name of a stored tensor."""
        for pattern, name in self.renamed.items():
            stored = re.sub(pattern, name, stored)
        return stored

    def why_left(self, name: str) -> str | None:
        """Why a tensor that the model has no place for may be there; None where it may not."""
        return next((why for pattern, why in (_LEFT | dict(self.left)).items() if re.fullmatch(pattern, name)), None)


_LEFT = {
    r"(.*\.)?rotary_emb\.inv_freq": "follows from the config",
    r"(.*\.)?position_ids": "0, 1, 2, …",
}
_MASKS = {
    r"(.*\.)?(attn|attention)\.(bias|masked_bias)": "the causal mask",
}
_HEAD = {"lm_head.weight": "model.embed_tokens.weight"}
_EXPERTS = "model.layers.{i}.mlp.experts."
_ONE_BY_ONE = {
    f"{_EXPERTS}gate_up_proj": (f"{_EXPERTS}{{e}}.gate_proj.weight", f"{_EXPERTS}{{e}}.up_proj.weight"),
    f"{_EXPERTS}down_proj": (f"{_EXPERTS}{{e}}.down_proj.weight",),
}
_GAMMA = {r"LayerNorm\.gamma$": "LayerNorm.weight", r"LayerNorm\.beta$": "LayerNorm.bias"}
_LLAMA = Spelling(copies=_HEAD)
_MOE = Spelling(copies=_HEAD, one_by_one=_ONE_BY_ONE)
_T5 = Spelling(
    copies={f"{part}.weight": "shared.weight" for part in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head")},
    # transformers 5 ties every head of T5 and then saves none.
    absent={"lm_head.weight": "shared.weight"},
    left={r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight": "never read"},
)
_BART = Spelling(
    copies={
        f"{part}.weight": "model.shared.weight"
        for part in ("model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head")
    },
    zero=("final_logits_bias",),
)
_GPT2 = Spelling(
    renamed={r"^(?=h\.|wte\.|wpe\.|ln_f\.)": "transformer."},
    copies={"lm_head.weight": "transformer.wte.weight"},
    left=_MASKS,
)

SPELLINGS: dict[str, Spelling] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma2", "gpt_oss", "phi"), _LLAMA),
    "qwen3_moe": _MOE,
    "mixtral": Spelling(
        renamed={
            r"\.block_sparse_moe\.": ".mlp.",
            r"(\.experts\.\d+)\.w1\.": r"\1.gate_proj.",
            r"(\.experts\.\d+)\.w2\.": r"\1.down_proj.",
            r"(\.experts\.\d+)\.w3\.": r"\1.up_proj.",
        },
        one_by_one=_ONE_BY_ONE,
        copies=_HEAD,
    ),
    "deepseek_v3": Spelling(copies=_HEAD, one_by_one=_ONE_BY_ONE, further="num_nextn_predict_layers"),
    **dict.fromkeys(("gpt2", "gpt-sw3", "gpt_bigcode", "gptj", "codegen"), _GPT2),
    "gpt_neo": replace(
        _GPT2, left={r"(.*\.)?attn\.attention\.(bias|masked_bias)": "the mask of a layer's attention"}
    ),
    "openai-gpt": Spelling(
        renamed={r"^(?=h\.|tokens_embed\.|positions_embed\.)": "transformer."},
        copies={"lm_head.weight": "transformer.tokens_embed.weight"},
        left=_MASKS,
    ),
    "ctrl": Spelling(
        renamed={r"^(?=h\.|w\.|layernorm\.)": "transformer."},
        copies={"lm_head.weight": "transformer.w.weight"},
    ),
    "mpt": Spelling(
        renamed={r"^(?=blocks\.|wte\.|norm_f\.)": "transformer."},
        copies={"lm_head.weight": "transformer.wte.weight"},
    ),
    "biogpt": Spelling(copies={"output_projection.weight": "biogpt.embed_tokens.weight"}),
    "gpt_neox_japanese": Spelling(copies={"embed_out.weight": "gpt_neox_japanese.embed_in.weight"}, left=_MASKS),
    "gpt_neox": Spelling(
        renamed={r"^embed_out\.": "lm_head."}, copies={"lm_head.weight": "gpt_neox.embed_in.weight"}, left=_MASKS
    ),
    "opt": Spelling(
        renamed={r"^(?=decoder\.)": "model."}, copies={"lm_head.weight": "model.decoder.embed_tokens.weight"}
    ),
    **dict.fromkeys(
        ("bloom", "falcon"),
        Spelling(
            renamed={r"^(?=h\.|word_embeddings\.|word_embeddings_layernorm\.|ln_f\.)": "transformer."},
            copies={"lm_head.weight": "transformer.word_embeddings.weight"},
        ),
    ),
    "bert": Spelling(
        renamed=_GAMMA,
        copies={
            "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "cls.predictions.bias",
        },
        left={
            r"bert\.pooler\..*": "the pooler, which the masked-LM class does not have",
            r"cls\.seq_relationship\..*": "the next-sentence head, which the masked-LM class does not have",
        },
    ),
    "albert": Spelling(
        renamed=_GAMMA,
        copies={
            "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
            "predictions.decoder.bias": "predictions.bias",
        },
        left={
            r"albert\.pooler(_activation)?\..*": "the pooler, which the masked-LM class does not have",
            r"sop_classifier\..*": "the sentence-order head, which the masked-LM class does not have",
        },
    ),
    "t5": _T5,
    "mt5": _T5,
    **dict.fromkeys(("bart", "mbart", "blenderbot", "blenderbot-small", "plbart", "mvp"), _BART),
    **dict.fromkeys(
        ("marian", "pegasus"),
        replace(_BART, computed=("encoder.positions.weight", "decoder.positions.weight")),
    ),
}


def spelling_of(config: Mapping[str, Any]) -> Spelling:
    """How the files of a config that was understood spell its tensors."""
    found = SPELLINGS[config["model_type"]]
    n_further = config.get(found.further) if found.further else 0
    if type(n_further) is not int or n_further > MAX_FURTHER:
        return found
    first = config.get("num_hidden_layers", 0)
    further = {rf"model\.layers\.{i}\..*": "predicts further tokens" for i in range(first, first + n_further)}
    return replace(found, left=dict(found.left) | further)
