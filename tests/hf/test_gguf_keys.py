"""What a GGUF file's keys leave out, and what they cannot say, as llama.cpp's loader (src/llama-model.cpp) has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archcalc.errors import InputError
from archcalc.sources import load
from archcalc.spec.attention import Attention
from archcalc.spec.groups import layers_of
from archcalc.spec.position import LinearScaling, Rope
from tests.gguf_bytes import gguf_bytes


def attention_of(folder: Path, arch: str = "llama", **changes: Any) -> Attention:
    """The attention that a file of so many layers and heads says; None drops a key."""
    keys: dict[str, Any] = {
        "block_count": 2,
        "context_length": 64,
        "embedding_length": 32,
        "feed_forward_length": 64,
        "attention.head_count": 4,
    } | {key.replace("__", "."): value for key, value in changes.items()}
    metadata = {f"{arch}.{key}": value for key, value in keys.items() if value is not None}
    path = folder / "x.gguf"
    path.write_bytes(gguf_bytes({"general.architecture": arch} | metadata, {"token_embd.weight": ((96, 32), ())}))
    attention = load(str(path)).decoder.runs[0].pattern[0].attention
    assert isinstance(attention, Attention)
    return attention


@pytest.mark.parametrize("arch", ["llama", "qwen2", "qwen3", "gemma2"])
def test_every_head_has_keys_of_its_own_where_nothing_says_how_many_do(arch: str, tmp_path: Path) -> None:
    assert attention_of(tmp_path, arch).n_kv_heads == 4
    assert attention_of(tmp_path, arch, attention__head_count_kv=2).n_kv_heads == 2


def test_a_factor_of_no_type_is_linear(tmp_path: Path) -> None:
    assert scaling_of(attention_of(tmp_path, rope__scaling__factor=4.0)) == LinearScaling(factor=4.0)
    said = {"rope__scaling__type": "none", "rope__scaling__factor": 4.0}
    assert scaling_of(attention_of(tmp_path, **said)) is None
    assert scaling_of(attention_of(tmp_path)) is None


def scaling_of(attention: Attention) -> Any:
    assert isinstance(attention.position, Rope)
    return attention.position.scaling


@pytest.mark.parametrize("found", [0, -4, 4.0, "four", None])
@pytest.mark.parametrize("key", ["block_count", "embedding_length", "attention.head_count"])
def test_what_cannot_be_a_size_is_refused(key: str, found: Any, tmp_path: Path) -> None:
    """Gemma 2 of 46 layers divides by its heads."""
    sizes = {"block_count": 46, key.replace(".", "__"): found}
    with pytest.raises(InputError, match=rf"x\.gguf: gemma2\.{key}: (found|is missing)") as caught:
        attention_of(tmp_path, "gemma2", **sizes)
    assert "\n" not in str(caught.value)


def test_a_list_of_one_value_is_that_value(tmp_path: Path) -> None:
    """As converters write sizes that other models of the architecture have by layer."""
    assert attention_of(tmp_path, attention__head_count_kv=[2, 2]).n_kv_heads == 2
    expected = r"x\.gguf: llama\.context_length: differs from layer to layer: 2, 1; expected "
    with pytest.raises(InputError, match=expected):
        attention_of(tmp_path, context_length=[2, 1])


def test_sizes_may_differ_by_layer(tmp_path: Path) -> None:
    sizes = {"attention__head_count_kv": [1, 2, 4], "feed_forward_length": [8, 8, 16], "block_count": 3}
    attention_of(tmp_path, **sizes)
    layers = layers_of(load(str(tmp_path / "x.gguf")).decoder)
    assert [layer.attention.n_kv_heads for layer in layers] == [1, 2, 4]
    assert [layer.ffn.d_ff for layer in layers] == [8, 8, 16]
    attention_of(tmp_path, attention__head_count=[4, 2], attention__head_count_kv=2)
    layers = layers_of(load(str(tmp_path / "x.gguf")).decoder)
    assert [(layer.attention.n_heads, layer.attention.d_head) for layer in layers] == [(4, 8), (2, 8)]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([2, 1, 1], r"head_count_kv: found 3 items; expected 2, one for each layer"),
        ([2, 0], r"head_count_kv\[1\]: found 0; expected a divisor of 4, the number of heads"),
        ([2, 3], r"head_count_kv\[1\]: found 3; expected a divisor of 4"),
    ],
)
def test_a_list_that_is_no_size_for_each_layer_is_refused(found: list[int], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        attention_of(tmp_path, attention__head_count_kv=found)


def test_heads_differ_by_kind_alone(tmp_path: Path) -> None:
    """In MiMo-V2, layers with a window have twice as many."""
    message = r"x\.gguf: mimo2\.attention\.head_count_kv: {}; expected "
    pattern = {"attention__sliding_window_pattern": [False, True, True], "block_count": 3}
    with pytest.raises(InputError, match=message.format("differs from layer to layer: 1, 2, 4")):
        attention_of(tmp_path, "mimo2", attention__head_count_kv=[1, 2, 4], **pattern)
    with pytest.raises(InputError, match=message.format("found 4")):
        attention_of(tmp_path, "mimo2", attention__head_count_kv=[1, 4, 4], **pattern)


def test_sizes_do_not_differ_by_layer_in_two_stacks(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"x\.gguf: t5\.attention\.head_count: differs from layer to layer: 4, 2; expected "
    ):
        attention_of(tmp_path, "t5", attention__head_count=[4, 2])


@pytest.mark.parametrize(
    ("arch", "key", "found"),
    [
        ("llama", "feed_forward_length", -3),
        ("llama", "rope.freq_base", "x"),
        ("gemma2", "attention.sliding_window", "y"),
        ("qwen3", "context_length", 0),
    ],
)
def test_an_error_names_the_key_of_the_file(arch: str, key: str, found: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"x\.gguf: {arch}\.{key}: found {found!r}; expected an? "):
        attention_of(tmp_path, arch, **{key.replace(".", "__"): found})
