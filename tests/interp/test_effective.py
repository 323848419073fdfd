"""The effective attention of mixers: what they read is the weighted sum of their values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import archcalc
from archcalc.cli.main import cli
from archcalc.errors import InputError
from archcalc.inside import attention
from archcalc.interp.heads.effective import LINEAR_MIXERS, effective_attention, mixer_arms
from archcalc.nn.taps import Edit, record
from archcalc.spec import Spec
from archcalc.spec.base import Part
from archcalc.spec.mixer import AnyMixer, ChannelMix, Fourier, GatedDelta, ShortConv, SpanConv
from archcalc.spec.sites import find_sites
from archcalc.spec.yaml_writer import as_yaml
from tests.examples import examples
from tests.nn.test_nn_cache import drawn
from tests.strategies import PARTS

IDS = [3, 1, 4, 1, 5, 9, 2]
NORM = {"kind": "rmsnorm"}


def one_mixer(part: Part, n_layers: int = 1) -> Spec:
    fields = {name: value for name, value in msgspec.to_builtins(part).items() if value is not None}
    stack = {"n_layers": n_layers, "runs": [{"pattern": [{"norm": NORM, "mixer": fields}]}]}
    return archcalc.load({"name": "x", "vocab_size": 23, "n_ctx": 64, "d_model": 6, "decoder": stack})


# Mixers without one, and why.
WITHOUT = {
    ShortConv: "its weights are its kernel",
    Fourier: "its weights are those of the transform",
    SpanConv: "its weights are its kernel, of all channels",
    ChannelMix: "it reads the token before and no others",
}


def test_every_mixer_has_one_or_a_reason() -> None:
    assert set(get_args(AnyMixer)) == {*LINEAR_MIXERS, *WITHOUT}


@pytest.mark.parametrize("kind", LINEAR_MIXERS, ids=lambda kind: kind.__name__)
def test_what_is_read_is_the_weighted_sum_of_values(kind: type[Part]) -> None:
    """By channel; for the values of the pass, and for others with the same selection."""

    @examples(8)
    @given(PARTS[kind], st.integers(0, 99))
    def check(part: Part, seed: int) -> None:
        spec = one_mixer(part)
        model, ids_BT = drawn(spec), torch.tensor([IDS])
        (arm,) = mixer_arms(spec)
        values, mixed = arm.site_names
        (site,) = find_sites(spec, values)
        weights_ITS = effective_attention(model, [msgspec.structs.replace(arm, n_heads=site.sizes["I"])], [ids_BT])
        assert not weights_ITS[arm.path].triu(1).any()
        by_head_NTS = effective_attention(model, [arm], [ids_BT])[arm.path]
        mean_NTS = torch.unflatten(weights_ITS[arm.path], 0, (arm.n_heads, -1)).mean(1)
        torch.testing.assert_close(by_head_NTS, mean_NTS)
        kept = {name: x.clone() for name, x in record(model, ids_BT, sites=[f"{arm.path}.*"]).items()}
        torch.manual_seed(seed)
        others = [
            Edit(values, None, torch.randn_like),
            *(Edit(name, None, lambda x, name=name: kept[name]) for name in arm.selected_names),
        ]
        for edits in ((), others):
            found = record(model, ids_BT, sites=[values, mixed], edits=edits)
            x_TI = found[values][0]
            expected_TI = torch.einsum("its,si->ti", weights_ITS[arm.path], x_TI)
            torch.testing.assert_close(found[mixed][0], expected_TI, rtol=1e-8, atol=1e-9 * float(x_TI.abs().max()))

    check()


DELTA = GatedDelta(n_key_heads=1, n_heads=2, d_key=3, d_value=4, d_conv=2)


def test_all_channels_of_a_head_of_the_delta_rule_share_their_weights() -> None:
    spec = one_mixer(DELTA)
    model, ids_BT = drawn(spec), torch.tensor([IDS])
    (arm,) = mixer_arms(spec)
    channels_ITS = effective_attention(model, [msgspec.structs.replace(arm, n_heads=8)], [ids_BT])[arm.path]
    heads_NTS = effective_attention(model, [arm], [ids_BT])[arm.path]
    torch.testing.assert_close(channels_ITS, heads_NTS.repeat_interleave(4, 0))


def test_a_mixer_is_a_row_of_the_command(tmp_path: Path) -> None:
    """Its figures are of shares; its weights keep their signs; it has no scores by dimension, and no kind."""
    spec = one_mixer(DELTA, 2)
    reading = attention(archcalc.random_model(spec), IDS)
    assert list(reading.arms) == ["layers.0.mixer", "layers.1.mixer"]
    assert reading.kinds is None
    for path, weights_NTS in reading.patterns.items():
        shares_NTS = reading.shares(path)
        torch.testing.assert_close(shares_NTS.sum(-1), torch.ones(2, len(IDS)))
        torch.testing.assert_close(shares_NTS * weights_NTS.abs().sum(-1, keepdim=True), weights_NTS.abs())
    with pytest.raises(InputError, match="a recurrent mixer has no queries and keys"):
        reading.products("layers.1.mixer", 0, 3, 1)
    path = tmp_path / "mixer.yaml"
    path.write_text(as_yaml(spec))
    ids = ["--random-weights", "--ids", ",".join(map(str, IDS))]
    command = ["attention", str(path), *ids, "--head", "layers.1.mixer.1", "--pair", "3,1", "--format", "json"]
    rows = json.loads(CliRunner().invoke(cli, command).stdout)
    assert [row["head_kind"] for row in rows["heads"]] == ["mixer"] * 4
    selected = rows["selected"]
    assert selected["pair"]["products"] == []
    weights = {(row["query"], row["key"]): row["weight"] for row in selected["weights"]}
    assert (
        weights[3, 1] == selected["pair"]["score"] == pytest.approx(float(reading.patterns["layers.1.mixer"][1, 3, 1]))
    )
    assert weights[1, 3] is None
