"""Folders and files that are not what they should be: one line that names the file and the tensor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from archcalc.formats import gguf_file, safetensors_file
from tests.checkpoint.random_models import random_model
from tests.examples import examples

Q = "model.layers.1.self_attn.q_proj.weight"


def changed(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def header(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    found = json.loads(data[8 : 8 + length])
    change(found)
    text = json.dumps(found).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def cut(folder: Path, n_bytes: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:n_bytes])


def config(folder: Path, **more: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def only(folder: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"\x80\x04")


def index(folder: Path, shard: str, **more: str) -> None:
    names = dict.fromkeys(load_file(folder / "model.safetensors"), shard) | more
    shutil.move(folder / "model.safetensors", folder / "a.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda f: changed(f, lambda t: t.pop(Q)), rf"'{Q}': is missing; expected a tensor of shape \[32, 32\]"),
    "extra": (lambda f: changed(f, lambda t: t.update(x=torch.ones(2))), "'x': is a tensor that this architecture"),
    "shape": (
        lambda f: changed(f, lambda t: t.update({Q: torch.ones(3, 32)})),
        rf"'{Q}': has shape \[3, 32\]; expected \[32, 32\]",
    ),
    "int8": (
        lambda f: changed(f, lambda t: t.update({Q: t[Q].to(torch.int8)})),
        f"model.safetensors: '{Q}': is stored as I8: quantized",
    ),
    "quantized": (lambda f: config(f, quantization_config={"quant_method": "hqq"}), "config.json: .*'hqq'"),
    "empty": (lambda f: cut(f, 0), "its header states 0 bytes, but the file has 0"),
    "cut in its length": (lambda f: cut(f, 5), "model.safetensors: its header states"),
    "cut in its header": (lambda f: cut(f, 100), "model.safetensors: its header states"),
    "cut in a tensor": (lambda f: cut(f, 9000), "is at bytes .*: it is truncated"),
    "no JSON": (
        lambda f: (f / "model.safetensors").write_bytes(b"\4\0\0\0\0\0\0\0nope"),
        "model.safetensors: its header is not JSON",
    ),
    "huge header": (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 64), "its header states 18446"),
    "overlap": (lambda f: header(f, lambda h: h.update({"z": h[Q]})), "overlaps another"),
    "dtype": (lambda f: header(f, lambda h: h[Q].update(dtype="X9")), f"'{Q}': unknown dtype 'X9'"),
    "range": (
        lambda f: header(f, lambda h: h[Q].update(data_offsets=[0, 10**12])),
        f"'{Q}': is at bytes 0 to 1000000000000",
    ),
    "negative": (
        lambda f: header(f, lambda h: h[Q].update(data_offsets=[-1, 3])),
        f"'{Q}': its offsets are not a pair",
    ),
    "sizes": (
        lambda f: header(f, lambda h: h[Q].update(shape=[32, 33])),
        f"'{Q}': has 4096 bytes, but its shape needs",
    ),
    "pickle": (lambda f: only(f, "pytorch_model.bin"), "'pytorch_model.bin' and no safetensors: a pickle can run code"),
    "nothing": (lambda f: only(f, "readme.md"), "has no weights"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json: cannot be read"),
    "traversal": (lambda f: index(f, "../a.safetensors"), r"names the shard '\.\./a.safetensors'; expected"),
    "no shard": (lambda f: index(f, "b.safetensors"), "names the shard 'b.safetensors', which is not there"),
    "not in the shard": (lambda f: index(f, "a.safetensors", x="a.safetensors"), "'x': is not in 'a.safetensors'"),
    "an index of nothing": (
        lambda f: (only(f, "x"), (f / "model.safetensors.index.json").write_text("[]")),
        "index.json: is no index",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_line(name: str, llama_folder: Path) -> None:
    change, message = BAD[name]
    change(llama_folder)
    with pytest.raises(InputError, match=message) as caught:
        open_checkpoint(str(llama_folder))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(llama_folder))


def test_a_tied_head_may_be_stored_again_if_it_is_the_same(tmp_path: Path) -> None:
    random_model("llama biased and tied").save_pretrained(tmp_path)
    changed(tmp_path, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))
    open_checkpoint(str(tmp_path)).load()
    changed(tmp_path, lambda t: t["lm_head.weight"][5, 7].add_(1))
    with pytest.raises(InputError, match=r"'lm_head\.weight': is tied to 'model\.embed_tokens\.weight' and differs"):
        open_checkpoint(str(tmp_path)).load()


def test_a_logit_bias_that_is_not_stored_is_zero(tmp_path: Path) -> None:
    random_model("marian").save_pretrained(tmp_path)
    assert open_checkpoint(str(tmp_path)).load().head.bias_buffer.any()
    changed(tmp_path, lambda t: t.pop("final_logits_bias"))
    assert not open_checkpoint(str(tmp_path)).load().head.bias_buffer.any()


def test_modules_that_predict_further_tokens_may_stand_after_the_last_layer(tmp_path: Path) -> None:
    random_model("deepseek_v3", num_nextn_predict_layers=1).save_pretrained(tmp_path)
    changed(tmp_path, lambda t: t.update({"model.layers.3.eh_proj.weight": torch.ones(32, 64)}))
    open_checkpoint(str(tmp_path)).load()
    changed(tmp_path, lambda t: t.update({"model.layers.4.eh_proj.weight": torch.ones(32, 64)}))
    with pytest.raises(InputError, match=r"'model\.layers\.4\.eh_proj\.weight': is a tensor that this architecture"):
        open_checkpoint(str(tmp_path))
    config(tmp_path, num_nextn_predict_layers=0)
    with pytest.raises(InputError, match=r"'model\.layers\.3\.eh_proj\.weight': is a tensor that this architecture"):
        open_checkpoint(str(tmp_path))


OLD = {
    "gpt2": lambda name: name.removeprefix("transformer."),
    "bert": lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"
    ),
}
LEFT = {
    "gpt2": {"h.0.attn.bias": torch.ones(1, 1, 48, 48), "h.1.attn.masked_bias": torch.tensor(-1e4)},
    "bert": {"bert.pooler.dense.weight": torch.ones(32, 32), "cls.seq_relationship.bias": torch.ones(2)},
}


@pytest.mark.parametrize("name", OLD)
def test_older_files_are_read_as_newer_ones(name: str, tmp_path: Path) -> None:
    random_model(name).save_pretrained(tmp_path)
    newer = open_checkpoint(str(tmp_path)).load().state_dict()
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({OLD[name](key): t for key, t in tensors.items()} | LEFT[name], tmp_path / "model.safetensors")
    older = open_checkpoint(str(tmp_path)).load().state_dict()
    assert all(torch.equal(older[key], newer[key]) for key in newer)


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\x80\x04")
    with pytest.raises(InputError, match="a pickle can run code"):
        open_checkpoint(str(tmp_path / "x.bin"))


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    from test_gguf_logits import write

    folder = tmp_path_factory.mktemp("valid")
    save_file({"a": torch.ones(3, 4), "b": torch.ones(5, dtype=torch.bfloat16)}, folder / "x.safetensors")
    write(folder / "x.gguf", random_model("llama"), "llama")
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


FLIPS = st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), max_size=4)


@examples(150)
@given(kind=st.sampled_from([".safetensors", ".gguf"]), flips=FLIPS, end=st.none() | st.integers(0, 4000))
def test_no_header_does_harm(kind: str, flips: list, end: int | None, valid: dict[str, bytes], tmp_path: Path) -> None:
    data = bytearray(valid[kind][:end])
    for at, by in flips:
        if data:
            data[at % len(data)] ^= by
    path = tmp_path / f"x{kind}"
    path.write_bytes(data)
    read = safetensors_file.read_header if kind == ".safetensors" else gguf_file.read_header
    with suppress(InputError):
        read(path)
        if kind == ".gguf":
            open_checkpoint(str(path))
