"""Llama 3.1's scaling told from `rope_freqs.weight`, or refused; no tensor of the model is read for it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from archcalc.errors import InputError
from archcalc.sources import load
from archcalc.spec.position import Llama3Scaling, Rope
from tests.gguf_bytes import gguf_bytes
from tests.hf.llama3 import factors_of

METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.context_length": 131_072,
    "llama.embedding_length": 128,
    "llama.feed_forward_length": 64,
    "llama.attention.head_count": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 500_000.0,
}


def file_of(folder: Path, factors: list[float], shape: tuple[int, ...] | None = None, **more: Any) -> str:
    metadata = METADATA | {key.replace("__", "."): value for key, value in more.items()}
    width = metadata["llama.embedding_length"]
    tensors = {"token_embd.weight": ((96, width), ()), "rope_freqs.weight": (shape or (len(factors),), factors)}
    path = folder / "x.gguf"
    path.write_bytes(gguf_bytes(metadata, tensors))
    return str(path)


def position_of(path: str) -> Rope:
    attention = load(path).decoder.runs[0].pattern[0].attention
    assert isinstance(attention.position, Rope)
    return attention.position


@pytest.mark.parametrize("factor", [8.0, 32.0, 8.1])
@pytest.mark.parametrize("d_head", [32, 64, 128])
@pytest.mark.parametrize("theta", [100_000.0, 500_000.0, 10_000_000.0])
def test_the_scaling_is_told_from_its_factors(factor: float, d_head: int, theta: float, tmp_path: Path) -> None:
    written = factors_of(factor, theta, d_head)
    assert len(set(written)) > 2, "some are kept, some divided, some between"
    sizes = {"llama__embedding_length": 2 * d_head, "llama__rope__freq_base": theta}
    position = position_of(file_of(tmp_path, written, **sizes))
    wanted = Llama3Scaling(factor=factor, low_freq_factor=1.0, high_freq_factor=4.0, n_ctx_original=8192)
    assert position == Rope(theta=theta, d_rotary=d_head, interleaved=False, scaling=wanted)


def changed(pair: int, factor: float) -> list[float]:
    found = factors_of(8.0)
    found[pair] = factor
    return found


GOOD = factors_of(8.0)
MISFIT = r"divides the frequency of pair \d+ by .* which Llama 3\.1 with factor .* expected those of low_freq_factor 1"
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "another high": ({"factors": factors_of(8.0, high=8)}, MISFIT),
    "another low": ({"factors": factors_of(8.0, low=2)}, MISFIT),
    "another context": ({"factors": factors_of(8.0, before=4096)}, MISFIT),
    "another base": ({"factors": GOOD, "llama__rope__freq_base": 10_000.0}, MISFIT),
    "YaRN's or LongRoPE's": ({"factors": [1.0 + 0.1 * pair for pair in range(32)]}, MISFIT),
    "one a little off": ({"factors": changed(16, GOOD[16] * 1.001)}, "of pair 16 by"),
    "one of the kept": ({"factors": changed(0, 1.0001)}, "of pair 0 by 1.0001, .* with factor 8 divides by 1;"),
    "NaN": ({"factors": changed(31, math.nan)}, "of pair 31 by nan; expected above 0"),
    "infinite": ({"factors": changed(31, math.inf)}, "of pair 31 by inf; expected above 0"),
    "zeros": ({"factors": [0.0] * 32}, r"of pair 0 by 0\.0; expected above 0"),
    "negative": ({"factors": changed(3, -8.0)}, r"of pair 3 by -8\.0; expected above 0"),
    "too few": ({"factors": GOOD[:31]}, r"rope_freqs\.weight: has shape \[31\]; expected a factor for each pair .* 64"),
    "two axes": ({"factors": GOOD, "shape": (1, 32)}, r"rope_freqs\.weight: has shape \[1, 32\]"),
    "a head of one": ({"factors": [], "shape": (0,), "llama__attention__head_count": 128}, r"has shape \[0\]"),
    "no heads": ({"factors": GOOD, "llama__attention__head_count": 0}, r"head_count: found 0"),
    "a base of 1": ({"factors": GOOD, "llama__rope__freq_base": 1.0}, r"llama\.rope\.freq_base: found 1\.0; expected"),
    "a text for a base": ({"factors": GOOD, "llama__rope__freq_base": "x"}, r"llama\.rope\.freq_base: found 'x'"),
    "another scaling": (
        {"factors": GOOD, "llama__rope__scaling__type": "linear"},
        r"llama\.rope\.scaling\.type: scales positions beside rope_freqs\.weight; expected one of the two",
    ),
    "a factor of no type": ({"factors": GOOD, "llama__rope__scaling__factor": 2.0}, r"scaling\.factor: scales"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_llama_3_does_not_give_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    how, said = BAD[name]
    with pytest.raises(InputError, match=said) as caught:
        load(file_of(tmp_path, **how))
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_scaling_said_to_be_none_stands_beside_factors(tmp_path: Path) -> None:
    found = position_of(file_of(tmp_path, GOOD, llama__rope__scaling__type="none"))
    assert found.scaling == Llama3Scaling(factor=8.0)


def test_factors_of_another_architecture_are_refused(tmp_path: Path) -> None:
    metadata = {key.replace("llama", "qwen2"): value for key, value in METADATA.items()}
    tensors = {"token_embd.weight": ((96, 128), ()), "rope_freqs.weight": ((32,), GOOD)}
    (tmp_path / "x.gguf").write_bytes(gguf_bytes(metadata | {"general.architecture": "qwen2"}, tensors))
    with pytest.raises(InputError, match=r"rope_freqs\.weight: is a tensor that this architecture does not have"):
        load(str(tmp_path / "x.gguf"))


def test_factors_must_be_plain(tmp_path: Path) -> None:
    """A file that keeps them in 16 bits: as many axes and entries, and type 1."""
    path = Path(file_of(tmp_path, GOOD))
    data = path.read_bytes()
    at = data.index(b"rope_freqs.weight") + len(b"rope_freqs.weight") + 4 + 8
    path.write_bytes(data[:at] + b"\1" + data[at + 1 :])
    with pytest.raises(InputError, match=r"'rope_freqs\.weight': is stored as F16; expected F32"):
        load(str(path))
