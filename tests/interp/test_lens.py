"""The lens: its last site is the output, its figures are torch's, its logits those of transformers' states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

import archcalc
from archcalc.analysis.flops import by_op
from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from archcalc.inside import Lens, Readout, lens
from archcalc.interp.lens import reading as module
from archcalc.interp.lens.extent import N_TOKENS, SHARE, affordable_extent, affordable_rows
from archcalc.interp.lens.maps import lens_sites
from archcalc.interp.named_tokens import named_tokens, token_or_id
from archcalc.interp.readout import stream_sites
from archcalc.ledger.build import build as build_ledger
from archcalc.ledger.leaves import COMPONENTS as LEDGER_COMPONENTS
from archcalc.run.loading.memory_check import TooLargeError
from archcalc.run.loading.source import open_source
from archcalc.run.pack import pack
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from tests.checkpoint.random_models import random_model
from tests.examples import examples
from tests.nn.test_nn_cache import drawn, inputs, lengths
from tests.strategies import specs


@pytest.fixture(scope="module")
def tiny() -> Any:
    return archcalc.load_model("tiny")


IDS = [5, 9, 2, 7, 400, 31]


def texts_of(spec: Spec) -> list[Tensor]:
    """The ids of one text, and of a source before it if there are two stacks."""
    torch.manual_seed(2)
    if spec.family == "encoder":
        return [torch.randint(spec.vocab_size, (1, lengths(spec)[0]))[:, : spec.n_ctx]]
    text, sources = inputs(spec, 1)
    pairs = zip((*sources, text), spec.stacks, strict=True)
    return [ids[:, : own.model.n_ctx] for ids, own in pairs]


@examples(40)
@given(specs(per_token=True))
def test_the_last_site_is_the_output(spec: Spec) -> None:
    assume(spec.predicts_tokens)
    model, texts = drawn(spec), texts_of(spec)
    with torch.no_grad():
        logits = model(*texts)
    assume(bool(logits.isfinite().all()))
    read = lens(model, *texts, positions="all", top=3)
    with torch.no_grad():
        assert torch.equal(Readout(model)(read.states[-1:].clone()), logits)
        assert torch.equal(model(*texts), logits)
    assert torch.equal(read.output, logits[0])
    assert torch.equal(read.logits(read.sites[-1]), logits[0])
    assert read.kl_nats[-1].tolist() == [0] * len(read.positions)
    assert list(read.sites) == [site.name for site in stream_sites(spec)]
    assert (read.ranks[-1, :, 0] == 1).all()
    assert torch.equal(read.top_ids[-1, :, 0], read.followed[:, 0])


def test_figures_are_those_of_torch(tiny: Any) -> None:
    read = lens(tiny, IDS, positions="all", top=4, tokens=[11, 3])
    output = Categorical(logits=read.output.double())
    for i, site in enumerate(read.sites):
        logits = read.logits(site).double()
        found = Categorical(logits=logits)
        torch.testing.assert_close(read.entropy_nats[i].double(), found.entropy(), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(read.kl_nats[i].double(), kl_divergence(output, found), atol=1e-4, rtol=1e-4)
        order = logits.argsort(-1, descending=True)
        assert torch.equal(read.top_ids[i], order[:, :4])
        best = found.probs.gather(-1, order[:, :4])
        torch.testing.assert_close(read.top_probabilities[i].double(), best, atol=1e-6, rtol=1e-4)
        for n, token in enumerate((11, 3)):
            assert read.ranks[i, :, n].tolist() == [int((row == token).nonzero()) + 1 for row in order]
            torch.testing.assert_close(
                read.probabilities[i, :, n].double(), found.probs[:, token], atol=1e-6, rtol=1e-4
            )
    assert read.followed[:, :2].tolist() == [[11, 3]] * len(IDS)
    assert read.followed[:, 2].tolist() == read.output.argmax(-1).tolist()


def test_a_part_of_the_positions_is_a_part_of_all(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the head reads a few rows at a time, of several sites at once."""
    whole = lens(tiny, IDS, positions="all", tokens=[7])
    monkeypatch.setattr(module, "CHUNK_BYTES", 5 * 4 * 2048)
    done: list[int] = []
    part = lens(tiny, torch.tensor([IDS]), positions=[4, 1, -1], tokens=[7], progress=done.append)
    assert (part.positions, max(done), sum(done)) == ((4, 1, 5), 5, 3 * (len(part.sites) - 1))
    for name in ("entropy_nats", "kl_nats", "top_probabilities", "probabilities"):
        torch.testing.assert_close(getattr(part, name), getattr(whole, name)[:, [4, 1, 5]], atol=1e-4, rtol=1e-4)
    for name in ("top_ids", "ranks", "states"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[:, [4, 1, 5]])
    last = lens(tiny, IDS)
    assert last.positions == (5,)
    assert torch.equal(last.ranks[:, 0, 0], whole.ranks[:, 5, 1])
    assert [site.split(".")[-1] for site in lens(tiny, IDS, sites="layers").sites] == ["resid_pre"] + 4 * ["resid_post"]


def test_where_a_token_is_first(tiny: Any) -> None:
    read = lens(tiny, IDS, positions="all", tokens=[11])
    for p in read.positions:
        winner = int(read.followed[p, 1])
        best = [int(read.logits(site)[p].argmax()) for site in read.sites]
        assert read.first_site(p, winner) == read.sites[best.index(winner)]
        assert read.first_site(p, 11) is None or 11 in best
    with pytest.raises(InputError, match=r"site: found 'x'; expected one of the sites"):
        read.logits("x")


def norm_and_head(theirs: Any) -> Any:
    """The end of a model of transformers, and its hidden states before it."""
    if theirs.config.model_type == "t5":
        scale = theirs.config.d_model**-0.5 if theirs.config.scale_decoder_outputs else 1
        return lambda x: theirs.lm_head(theirs.decoder.final_layer_norm(x) * scale)
    if theirs.config.model_type == "gpt2":
        return lambda x: theirs.lm_head(theirs.transformer.ln_f(x))
    if theirs.config.model_type == "bert":
        return theirs.cls
    return lambda x: theirs.lm_head(theirs.model.norm(x))


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3", "bert", "t5", "t5 gated"])
@torch.no_grad()
def test_logits_are_those_of_the_states_of_transformers(name: str, tmp_path: Path) -> None:
    theirs = random_model(name)
    theirs.save_pretrained(tmp_path)
    ours = open_checkpoint(str(tmp_path)).load()
    ids, source = torch.randint(6, 96, (1, 11)), torch.randint(6, 96, (1, 7))
    if theirs.config.is_encoder_decoder:
        output = theirs(input_ids=source, decoder_input_ids=ids, output_hidden_states=True)
        states, texts = output.decoder_hidden_states, [source, ids]
    else:
        output = theirs(input_ids=ids, output_hidden_states=True)
        states, texts = output.hidden_states, [ids]
    read, end = lens(ours, *texts, positions="all", sites="layers"), norm_and_head(theirs)
    assert len(read.sites) == len(states)
    # The last of the hidden states is normalized already.
    expected = [end(state)[0] for state in states[:-1]] + [output.logits[0]]
    for site, logits in zip(read.sites, expected, strict=True):
        assert (read.logits(site) - logits).abs().max() <= 1e-5 * logits.abs().max(), site
        i = read.sites.index(site)
        torch.testing.assert_close(read.top_probabilities[i, :, 0], logits.softmax(-1).amax(-1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "norm"), [("llama", "post_attention_layernorm"), ("gpt2", "ln_2")])
@torch.no_grad()
def test_between_branches_too(name: str, norm: str, tmp_path: Path) -> None:
    theirs = random_model(name)
    theirs.save_pretrained(tmp_path)
    ours, ids, held = open_checkpoint(str(tmp_path)).load(), torch.randint(6, 96, (1, 9)), []
    for layer in theirs.base_model.layers if name == "llama" else theirs.base_model.h:
        layer.get_submodule(norm).register_forward_pre_hook(lambda _, args: held.append(args[0]))
    theirs(input_ids=ids)
    read, end = lens(ours, ids, positions="all"), norm_and_head(theirs)
    between = [site for site in read.sites if site.endswith("resid_mid")]
    for site, state in zip(between, held, strict=True):
        expected = end(state)[0]
        assert (read.logits(site) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_maps_come_before_the_norm(tiny: Any) -> None:
    torch.manual_seed(3)
    weight, bias = torch.randn(192, 192), torch.randn(192)
    plain = lens(tiny, IDS, positions="all")
    read = lens(tiny, IDS, positions="all", using=Lens("tuned", {"layers.1.resid_mid": (weight, bias)}))
    i = read.sites.index("layers.1.resid_mid")
    with torch.no_grad():
        expected = Readout(tiny)((read.states[i] @ weight.T + bias).unsqueeze(0))[0]
    torch.testing.assert_close(read.logits("layers.1.resid_mid"), expected)
    assert torch.equal(read.top_ids[i], expected.topk(5).indices)
    others = [j for j in range(len(read.sites)) if j != i]
    assert torch.equal(read.kl_nats[others], plain.kl_nats[others])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": [6]}, "positions: found 6; expected 0 to 5, or 'all'"),
        ({"positions": "first"}, "positions: found 'first'"),
        ({"positions": []}, "positions: found none"),
        ({"sites": "heads"}, "sites: found 'heads'; expected branches, layers"),
        ({"top": 0}, "top: found 0"),
        ({"tokens": [2048]}, "tokens: found id 2048; expected 0 to 2,047"),
        ({"target": [1]}, "target: reads one text; expected no value"),
        ({"using": Lens("tuned", {"layers.9.resid_post": (torch.eye(192), None)})}, "lens: has a map for"),
        ({"using": Lens("tuned", {"layers.1.resid_post": (torch.eye(4), None)})}, "resid_post is 4 × 4; expected 192"),
    ],
)
def test_what_cannot_be_read(tiny: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        lens(tiny, IDS, **options)
    assert message in str(error.value)


def test_what_has_no_layers_to_read(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="the model predicts no tokens"):
        lens(archcalc.random_model(archcalc.load("bert-base", {"n_layers": 1, "head": None, "vocab_size": 9})), [1])
    with pytest.raises(InputError, match="ids: found 1 × 2 × 1"):
        lens(tiny, torch.ones(1, 2, 1))
    with pytest.raises(InputError, match="ids: found id 9999"):
        lens(tiny, [9999])
    with pytest.raises(InputError, match="not packed"):
        lens(pack(archcalc.load_model("tiny")), IDS)
    monkeypatch.setattr(module, "free_memory", lambda device: 1000)
    with pytest.raises(TooLargeError, match=r"the lens needs .* for 9 sites and 6 tokens; 1.000 kB are free"):
        lens(tiny, IDS)


def test_tokens_are_named_as_they_continue_a_text() -> None:
    source = open_source("tiny")
    piece = source.tokenizer.decode
    assert [piece([token]) for token in named_tokens(source, ["God", " God", "God", "a"])] == [" God", " a"]
    assert named_tokens(source, ["God"], [7]) == [*named_tokens(source, [" God"]), 7]
    assert token_or_id(source, "king", None, "answer") == token_or_id(source, " king", None, "answer") == 407
    assert [token_or_id(source, None, token, "answer") for token in (None, 7)] == [None, 7]
    with pytest.raises(InputError, match="answer, answer_id: both"):
        token_or_id(source, "king", 7, "answer")
    with pytest.raises(InputError, match=r"answer: 'king king' is 2 tokens: ' king', ' king'; .* or `answer_id`"):
        token_or_id(source, "king king", None, "answer")
    with pytest.raises(InputError, match=r"tokens: 'Constantinople' is \d+ tokens: '.*; expected the text of one"):
        named_tokens(source, ["Constantinople"])
    with pytest.raises(InputError, match="there is no tokenizer"):
        named_tokens(open_source("tiny", random_weights=True, changes={"vocab_size": 99}), ["a"])


@examples(15)
@given(specs(), st.integers(1, 40))
def test_what_is_affordable_costs_no_more_than_a_share_of_a_pass(spec: Spec, n_tokens: int) -> None:
    assume(spec.predicts_tokens)
    n_tokens = min(n_tokens, spec.stacks[-1].model.n_ctx)
    n_paid = max(n_tokens, min(N_TOKENS, spec.stacks[-1].model.n_ctx))
    ops = by_op(build_ledger(spec), Workload(batch=1, seq=n_paid, source_seq=n_paid))
    head, all_ops = (sum(op.forward for op in ops if op.row.component in of) for of in (("head",), LEDGER_COMPONENTS))
    n_rows = affordable_rows(spec, n_tokens)
    assert n_rows * head <= SHARE * all_ops * n_paid < (n_rows + 1) * head
    extent = affordable_extent(spec, n_tokens)
    assert extent.positions == list(range(n_tokens))[-len(extent.positions) :]
    assert extent.is_cut == (len(extent.positions) < n_tokens)
    n_sites = {which: len(lens_sites(spec, which)) - 1 for which in ("branches", "layers")}
    is_one = len(extent.positions) == 1
    assert is_one or len(extent.positions) * n_sites[extent.sites] <= n_rows
    if extent.sites == "layers":
        assert n_sites["branches"] * n_tokens > n_rows or n_sites["branches"] == n_sites["layers"]
    if extent.is_cut:
        assert (len(extent.positions) + 1) * n_sites["layers"] > n_rows
    assert affordable_extent(spec, n_tokens, "branches").sites == "branches"
