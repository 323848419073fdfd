"""Every preset is the model it says it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from archcalc import prepared_presets, presets
from archcalc.analysis.papers.claims import check
from archcalc.analysis.params import summary
from archcalc.ledger.build import build
from archcalc.sources import load
from archcalc.spec.document import decode, encode
from archcalc.spec.groups import groups
from archcalc.spec.yaml_reader import parse

# Published checkpoints' totals, and closed forms by hand for what has no checkpoint.
TOTALS = {
    "bert-base": 109_514_298,
    "deepseek-v3": 671_026_404_352,
    "gemma-2-9b": 9_241_705_984,
    "gpt-oss-120b": 116_829_156_672,
    "gpt-oss-20b": 20_914_757_184,
    "gpt2": 124_439_808,
    "gpt2-large": 774_030_080,
    "gpt2-medium": 354_823_168,
    "gpt2-xl": 1_557_611_200,
    "gpt3-1.3b": 1_315_723_264,
    "gpt3-125m": 125_226_240,
    "gpt3-13b": 12_853_386_240,
    "gpt3-175b": 174_604_259_328,
    "gpt3-2.7b": 2_651_553_280,
    "gpt3-350m": 355_871_744,
    "gpt3-6.7b": 6_658_404_352,
    "gpt3-760m": 760_300_032,
    # table and positions 27, attention 4·(9 + 3), norms 2·6, feed-forward 18 + 6 + 18 + 3, head 15 + 5
    "happy": 152,
    "llama-2-70b": 68_976_648_192,
    "llama-2-7b": 6_738_415_616,
    "llama-3-405b": 405_853_388_800,
    "llama-3-70b": 70_553_706_496,
    "llama-3-8b": 8_030_261_248,
    # Megatron: 12·L·h² + 13·L·h + (51,200 + 2048)·h + 2h
    "megatron-175b": 174_615_846_912,
    "megatron-1t": 1_008_038_758_400,
    "megatron-22b": 22_074_273_792,
    "megatron-530b": 529_600_819_200,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-8b": 8_190_735_360,
    "smollm2-135m": 134_515_008,
    "t5-small": 60_506_624,
    "tiny": 1_967_808,
    # table 2048·128, places 256·128, types 2·128, norm 2·128; four layers of 4·(128² + 128) + 2·128·512 + 640 + 4·128;
    # transform 128² + 128, its norm 2·128, bias of the head 2048
    "tiny-encoder": 1_107_328,
    # tables 2·32·64, places 2·32·64; layers 16,384 + 16,384 + 256 and 32,768 + 16,384 + 384, norms 4·64
    "tiny-seq2seq": 173_568,
    "transformer-base": 63_606_784,
    "transformer-big": 215_293_952,
}

ACTIVE = {
    "deepseek-v3": (37_552_282_624, 36_625_603_584, 35_698_924_544),
    "gpt-oss-20b": (4_187_440_704, 3_608_307_264, 3_029_173_824),
    "mixtral-8x7b": (12_879_925_248, 12_748_853_248, 12_617_781_248),
    "qwen3-30b-a3b": (3_353_032_704, 3_041_867_776, 2_730_702_848),
}

each_preset = pytest.mark.parametrize("name", presets.names())


def test_all_presets_are_expected_and_all_expected_are_there() -> None:
    assert presets.names() == sorted(TOTALS)


def test_prepared_copy_is_up_to_date() -> None:
    copy = Path(prepared_presets.file()).read_text(encoding="utf-8")
    assert copy == prepared_presets.to_json(), "run python -m archcalc.prepared_presets"


def test_changed_preset_is_read_from_its_own_file() -> None:
    path = str(presets.path_of("gpt2"))
    content = Path(path).read_bytes()
    assert prepared_presets.prepared(path, content) == parse(content)
    assert prepared_presets.prepared(path, content + b"n_ctx: 4096\n") is None
    assert prepared_presets.prepared("no-preset.yaml", content) is None


@each_preset
def test_total_is_the_published_one(name: str) -> None:
    assert build(load(name)).total() == TOTALS[name]


@pytest.mark.parametrize("name", ACTIVE)
def test_active_is_the_published_one(name: str) -> None:
    found = summary(build(load(name)))
    assert (
        found["active"],
        found["active_without_input_embedding"],
        found["active_without_embedding_and_head"],
    ) == ACTIVE[name]


def test_stored_position_tables_are_frozen() -> None:
    found = summary(build(load("transformer-big")))
    assert found["trainable"] == 214_245_376
    assert found["frozen"] == 2 * 512 * 1024


def test_router_correction_is_a_buffer() -> None:
    assert summary(build(load("deepseek-v3")))["buffers"] == 58 * 256


@each_preset
def test_name_is_the_files_and_there_are_title_and_source(name: str) -> None:
    spec = load(name)
    assert spec.name == name
    assert spec.about.title
    sources = spec.about.sources
    assert sources
    assert all(source.strip() for source in sources)


def test_no_two_presets_share_a_title() -> None:
    titles = [load(name).about.title for name in presets.names()]
    assert len(set(titles)) == len(titles)


@each_preset
def test_round_trip(name: str) -> None:
    spec = load(name)
    assert decode(encode(spec)) == spec


@each_preset
def test_claims_get_their_recorded_verdict(name: str) -> None:
    spec = load(name)
    wrong = [
        (one.claim.id, one.figure_in_unit, one.verdict) for one in check(spec, build(spec)) if not one.is_as_recorded
    ]
    assert wrong == []


@each_preset
def test_claims_are_told_apart_and_say_where_they_stand(name: str) -> None:
    claims = load(name).about.claims
    assert len({claim.id for claim in claims}) == len(claims)
    assert all(claim.where for claim in claims)


@each_preset
def test_a_figure_that_differs_says_why(name: str) -> None:
    assert [claim.id for claim in load(name).about.claims if claim.verdict == "differs" and not claim.note] == []


@pytest.mark.parametrize("name", presets.ALIASES)
def test_short_names_stand_for_presets(name: str) -> None:
    assert load(name) == load(presets.ALIASES[name])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deepseek-v3", ["dense", "moe"]),
        ("gemma-2-9b", ["sliding", "global"]),
        ("gpt-oss-20b", ["sliding", "global"]),
        ("gpt-oss-120b", ["sliding", "global"]),
    ],
)
def test_layers_that_differ_are_named(name: str, expected: list[str]) -> None:
    decoder = load(name).decoder
    assert decoder is not None
    assert [group.name for group in groups(decoder)] == expected
