"""A GGUF file in several parts is one model, whichever part is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

import archcalc
from archcalc.errors import InputError
from archcalc.formats.gguf_split import read_whole_header

PARTS = [f"model-{part:05}-of-00003.gguf" for part in (1, 2, 3)]
MATRICES = {"token_embd": (32, 64), "blk.0.attn_q": (64, 64), "blk.0.attn_k": (64, 64), "blk.0.attn_v": (64, 64)}
MATRICES |= {"blk.0.attn_output": (64, 64), "blk.0.ffn_gate": (96, 64), "blk.0.ffn_up": (96, 64)}
MATRICES |= {"blk.0.ffn_down": (64, 96)}
NORMS = ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")


def written(folder: Path, parts: int = 3) -> Path:
    """A LLaMA in parts with at most four tensors each, as the library writes them."""
    path = folder / "model.gguf"
    writer = GGUFWriter(str(path), "llama", split_max_tensors=4 if parts > 1 else 0)
    writer.add_block_count(1)
    writer.add_embedding_length(64)
    writer.add_head_count(2)
    writer.add_feed_forward_length(96)
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    for name in MATRICES:
        writer.add_tensor(f"{name}.weight", np.zeros(MATRICES[name], dtype=np.float16))
    for name in NORMS:
        writer.add_tensor(f"{name}.weight", np.zeros(64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / PARTS[0] if parts > 1 else path


def test_each_part_names_the_whole(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = archcalc.report(archcalc.load(str(written(tmp_path / "whole", 1))))
    written(tmp_path)
    for part in PARTS:
        split = archcalc.report(archcalc.load(str(tmp_path / part)))
        assert (split["params"], split["memory"]) == (whole["params"], whole["memory"])


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / PARTS[1]).unlink()
    with pytest.raises(InputError, match=f"{PARTS[1]}: is missing: 3 parts make the whole model"):
        read_whole_header(tmp_path / PARTS[0])


def test_a_part_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / PARTS[1]).write_bytes((tmp_path / PARTS[2]).read_bytes())
    with pytest.raises(InputError, match=f"{PARTS[1]}: split.no: found 2; expected 1"):
        read_whole_header(tmp_path / PARTS[0])


def test_a_part_under_another_name_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / PARTS[0]).rename(tmp_path / "model.gguf")
    with pytest.raises(InputError, match=r"split.count: is one of 3 parts; expected a file that is called"):
        read_whole_header(tmp_path / "model.gguf")
