"""Tensor names in published files that differ from those of transformers' classes, as data for each family."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from archcalc.hf.tensors import TensorEntry, TensorMap

Names = Mapping[str, str]
MAX_MTP_MODULES = 64


class MtpFiles(msgspec.Struct, frozen=True):
    """Modules for multi-token prediction in files.

    - `keys`: the config's key that counts them, the first that is present
    - `are_layers`: they are stored as if they were further layers
    - `has_tables`: each is stored with copies of the token table and of the head's matrix
    """

    keys: tuple[str, ...]
    are_layers: bool = False
    has_tables: bool = False

    def n_modules(self, config: Mapping[str, Any]) -> int:
        """Return how many a config counts; 0 for anything that is not a number of modules."""
        n_modules = next((config[key] for key in self.keys if key in config), 0)
        return n_modules if type(n_modules) is int and 0 < n_modules <= MAX_MTP_MODULES else 0

    def about(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a spec says about the modules; empty if the config counts none."""
        n_modules = self.n_modules(config)
        return {"stored_mtp": {"n_modules": n_modules, "has_tables": self.has_tables}} if n_modules else {}


class Spelling(msgspec.Struct, frozen=True):
    """How files name and store tensors differently from the class.

    - `renames`: patterns of stored names → the class's names
    - `of_next_layer`: patterns of names with the number of a layer → the class's names with that of the next, `{i}`
    - `per_expert`: the class's stacked tensor → the tensors stored for each expert `{e}`, joined as the entry says
    - `copies`: a name under which another tensor may be stored again
    - `absent`: the tensor to use instead of one that is not stored
    - `computed`: canonical tensors that follow from the config
    - `unused`: patterns of tensors that no forward pass reads, each with the reason
    - `fused`: entries of files that join tensors which the class stores separately
    - `integers`: patterns of tensors that are stored as integers
    - `mtp`: the modules for multi-token prediction that files hold and the class does not build
    """

    renames: Names = {}
    of_next_layer: Names = {}
    per_expert: Mapping[str, tuple[str, ...]] = {}
    copies: Names = {}
    absent: Names = {}
    computed: tuple[str, ...] = ()
    unused: Names = {}
    fused: tuple[TensorEntry, ...] = ()
    integers: tuple[str, ...] = ()
    mtp: MtpFiles | None = None

    def has_integers(self, name: str) -> bool:
        """Return whether a tensor, by the class's name, is stored as integers."""
        return any(re.fullmatch(pattern, name) for pattern in self.integers)

    def name(self, stored: str) -> str:
        """Return the class's name of a stored tensor."""
        for pattern, name in self.renames.items():
            stored = re.sub(pattern, name, stored)
        for pattern, name in self.of_next_layer.items():
            if match := re.fullmatch(pattern, stored):
                return name.replace("{i}", str(int(match[1]) + 1))
        return stored

    def rows(self, tensors: TensorMap, stored: Collection[str]) -> TensorMap:
        """Return the map for these `stored` names (the class's): with the fused entries that some layer has."""
        patterns = [re.compile(re.escape(row.name).replace(r"\{i\}", r"\d+")) for row in self.fused]
        matches = zip(self.fused, patterns, strict=True)
        fused = tuple(row for row, pattern in matches if any(map(pattern.fullmatch, stored)))
        return msgspec.structs.replace(tensors, entries=(*fused, *tensors.entries)) if fused else tensors

    def expert_names(self, name: str) -> tuple[str, ...]:
        """Return the names of one expert's tensors, with `{e}` for the expert, if files may store them apart."""
        if index := re.search(r"\.(\d+)\.", name):
            for stacked, expert_names in self.per_expert.items():
                if stacked.replace("{i}", index[1]) == name:
                    return tuple(tensor.replace("{i}", index[1]) for tensor in expert_names)
        return ()

    def unused_reason(self, name: str) -> str | None:
        """Return why the file may have a tensor that the model does not; None if it may not."""
        return next(
            (reason for pattern, reason in (_ALWAYS_UNUSED | dict(self.unused)).items() if re.fullmatch(pattern, name)),
            None,
        )

    def of(self, config: Mapping[str, Any]) -> Spelling:
        """Return this spelling with the names of the prediction modules that the config counts."""
        n_modules = self.mtp.n_modules(config) if self.mtp and self.mtp.are_layers else 0
        if not n_modules:
            return self
        first = config.get("num_hidden_layers", 0)
        mtp = {rf"model\.layers\.{i}\..*": "predicts further tokens" for i in range(first, first + n_modules)}
        return msgspec.structs.replace(self, unused=dict(self.unused) | mtp)


_ALWAYS_UNUSED = {
    r"(.*\.)?rotary_emb\.inv_freq": "follows from the config",
    r"(.*\.)?position_ids": "0, 1, 2, …",
}
MASKS = {
    r"(.*\.)?(attn|attention)\.(bias|masked_bias)": "the causal mask",
}
# The modules of DeepSeek-V3 and of those that follow it.
MTP_LAYERS = MtpFiles(("num_nextn_predict_layers",), are_layers=True, has_tables=True)
GAMMA = {r"LayerNorm\.gamma$": "LayerNorm.weight", r"LayerNorm\.beta$": "LayerNorm.bias"}
_EXPERTS = "model.layers.{i}.mlp.experts."
PER_EXPERT = {
    f"{_EXPERTS}gate_up_proj": (f"{_EXPERTS}{{e}}.gate_proj.weight", f"{_EXPERTS}{{e}}.up_proj.weight"),
    f"{_EXPERTS}down_proj": (f"{_EXPERTS}{{e}}.down_proj.weight",),
}
# Some files also store a tied head.
TIED = Spelling(copies={"lm_head.weight": "model.embed_tokens.weight"})
TIED_EXPERTS = msgspec.structs.replace(TIED, per_expert=PER_EXPERT)
