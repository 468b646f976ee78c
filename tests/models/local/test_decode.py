"""The batched decoder: its numbers are the model's, and a row does not depend on its batch."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from rlaif.models.local.decode import _draw, decode, row_uniforms
from rlaif.models.local.kv_cache import PREFILL_TOKENS, run_prompts

VOCAB, STOP, PAD = 24, 23, 22


def make_model(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel
    if kind == "gpt2":  # absolute positions: a wrong position id shows
        model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=2, n_positions=64))
    else:
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCAB,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=64,
            )
        )
    for parameter in model.parameters():
        parameter.data *= 4  # away from the uniform distribution that an untrained model has
    return model.eval()


@pytest.fixture(params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return make_model(request.param)


def make_prompts(count: int, *, shortest: int = 2, longest: int = 12) -> list[list[int]]:
    rng = random.Random(5)
    return [[rng.randrange(PAD) for _ in range(rng.randint(shortest, longest))] for _ in range(count)]


def full_logprobs(model: PreTrainedModel, ids: Sequence[int], *, temperature: float = 1.0) -> torch.Tensor:
    """(len(ids), vocab) by one plain forward pass over one unpadded sequence."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([list(ids)])).logits[0]
    return torch.log_softmax(logits.float() / temperature, dim=-1)


def test_logprobs_are_those_of_a_plain_forward_pass(model: PreTrainedModel) -> None:
    prompts = make_prompts(9)
    uniforms = row_uniforms([(0, row) for row in range(9)], 8)
    decoded = decode(model, prompts, max_new_tokens=8, uniforms=uniforms, temperature=0.6, stop_ids=[STOP], pad_id=PAD)
    for prompt, ids, logprobs in zip(prompts, decoded.token_ids, decoded.logprobs, strict=True):
        full = full_logprobs(model, prompt + ids, temperature=0.6)
        expected = [float(full[len(prompt) - 1 + t, token]) for t, token in enumerate(ids)]
        assert logprobs == pytest.approx(expected, abs=1e-5)


def test_greedy_decoding_takes_the_most_likely_token_each_time(model: PreTrainedModel) -> None:
    prompts = make_prompts(5)
    decoded = decode(model, prompts, max_new_tokens=6, uniforms=None, stop_ids=[], pad_id=PAD)
    for prompt, ids in zip(prompts, decoded.token_ids, strict=True):
        full = full_logprobs(model, prompt + ids)
        assert ids == full[len(prompt) - 1 : -1].argmax(dim=-1).tolist()


def test_a_row_samples_the_same_alone_and_in_a_batch_that_is_compacted(model: PreTrainedModel) -> None:
    prompts = make_prompts(24)
    keys = [(7, row) for row in range(24)]
    stops = list(range(8))  # about a third of the draws: rows leave the batch at every step
    together = decode(model, prompts, max_new_tokens=10, uniforms=row_uniforms(keys, 10), stop_ids=stops, pad_id=PAD)
    alone = [
        decode(model, [prompt], max_new_tokens=10, uniforms=row_uniforms([key], 10), stop_ids=stops, pad_id=PAD)
        for prompt, key in zip(prompts, keys, strict=True)
    ]
    assert together.token_ids == [one.token_ids[0] for one in alone]
    assert together.finished == [one.finished[0] for one in alone]
    assert len({len(ids) for ids in together.token_ids}) > 3
    np.testing.assert_allclose(
        np.concatenate(together.logprobs), np.concatenate([one.logprobs[0] for one in alone]), atol=1e-5
    )


def test_nothing_is_appended_after_the_stop_token(model: PreTrainedModel) -> None:
    decoded = decode(
        model,
        make_prompts(16),
        max_new_tokens=12,
        uniforms=row_uniforms([(1, row) for row in range(16)], 12),
        stop_ids=[1, 2, 3, 4],
        pad_id=PAD,
    )
    for ids, logprobs, finished in zip(decoded.token_ids, decoded.logprobs, decoded.finished, strict=True):
        assert len(ids) == len(logprobs)
        assert all(token not in (1, 2, 3, 4) for token in ids[:-1])
        assert finished == (ids[-1] in (1, 2, 3, 4))
        assert finished or len(ids) == 12


def test_equal_prompts_are_computed_once_and_still_draw_their_own_tokens(model: PreTrainedModel) -> None:
    prompt = make_prompts(1)[0]
    decoded = decode(
        model,
        [prompt] * 6,
        max_new_tokens=6,
        uniforms=row_uniforms([(0, 0, sample) for sample in range(6)], 6),
        stop_ids=[],
        pad_id=PAD,
    )
    assert len({tuple(ids) for ids in decoded.token_ids}) == 6


def test_prompts_that_do_not_fit_into_one_prefill_are_computed_in_several(model: PreTrainedModel) -> None:
    prompts = make_prompts(120, shortest=30, longest=50)
    assert sum(map(len, prompts)) > PREFILL_TOKENS
    states = run_prompts(model, prompts, pad_id=PAD)
    logits = states.logits[states.places]
    for row in (0, 17, 60, 119):
        expected = full_logprobs(model, prompts[row])[-1]
        torch.testing.assert_close(torch.log_softmax(logits[row], dim=-1), expected, atol=1e-5, rtol=0)


def on_lines(token: int) -> str:
    """Every token a line."""
    return f"\n<{token}>"


def test_choices_are_read_at_the_position_after_the_marker(model: PreTrainedModel) -> None:
    prompts = make_prompts(10)
    greedy = decode(model, prompts, max_new_tokens=6, uniforms=None, stop_ids=[], pad_id=PAD)
    # Some tokens that a row writes: a marker, a choice, and what begins the next line.
    first, place = next(
        (row, at)
        for row, ids in enumerate(greedy.token_ids)
        for at in range(1, 4)
        if len(set(ids[at : at + 3])) == 3 and ids[at] not in ids[:at]
    )
    marker_token, choice, following = greedy.token_ids[first][place : place + 3]
    other = next(token for token in range(VOCAB) if token not in (marker_token, choice, following))
    decoded = decode(
        model,
        prompts,
        max_new_tokens=6,
        uniforms=None,
        stop_ids=[],
        pad_id=PAD,
        marker=f"<{marker_token}>",
        piece=on_lines,
        choice_ids=[choice, other],
    )
    assert decoded.marked[first]
    assert len(decoded.token_ids[first]) == place + 1
    for row, prompt in enumerate(prompts):
        written = decoded.token_ids[row]
        assert written[:6] == greedy.token_ids[row][: len(written)]
        if decoded.marked[row]:
            assert written[-1] == marker_token
            expected = full_logprobs(model, prompt + written)[-1, [choice, other]]
            torch.testing.assert_close(decoded.choice_logprobs[row], expected, atol=1e-5, rtol=0)
        else:
            assert decoded.choice_logprobs[row].isnan().all()


@pytest.mark.parametrize("begin", ["", "\n"], ids=["reads on behind the choice", "ends at the choice"])
def test_a_marker_may_span_tokens_and_may_come_with_the_last_token(model: PreTrainedModel, begin: str) -> None:
    prompts = make_prompts(10)
    greedy = decode(model, prompts, max_new_tokens=6, uniforms=None, stop_ids=[], pad_id=PAD).token_ids
    row = next(row for row, ids in enumerate(greedy) if ids[2] not in (*ids[:2], *ids[3:5]))
    prompt, written, choice = prompts[row], greedy[row][:4], greedy[row][4]
    decoded = decode(
        model,
        [prompt],
        max_new_tokens=4,
        uniforms=None,
        stop_ids=[],
        pad_id=PAD,
        marker=f"{begin}<{written[2]}><{written[3]}>",
        piece=lambda token: f"\n<{token}>" if token == written[2] else f"<{token}>",
        choice_ids=[choice],
    )
    is_read = bool(begin)  # the next token stands on the choice's line: "<5><7>" is no choice
    assert decoded.marked == [is_read]
    if is_read:
        assert decoded.token_ids[0] == written
        expected = full_logprobs(model, prompt + written)[-1, [choice]]
        torch.testing.assert_close(decoded.choice_logprobs[0], expected, atol=1e-5, rtol=0)


def test_a_marker_in_the_middle_of_a_line_does_not_end_a_row(model: PreTrainedModel) -> None:
    prompt = make_prompts(1)[0]
    written = decode(model, [prompt], max_new_tokens=6, uniforms=None, stop_ids=[], pad_id=PAD).token_ids[0]
    decoded = decode(
        model,
        [prompt],
        max_new_tokens=6,
        uniforms=None,
        stop_ids=[],
        pad_id=PAD,
        marker=f"<{written[2]}>",
        piece=lambda token: f"<{token}>",
        choice_ids=[written[3]],
    )
    assert (decoded.token_ids[0], decoded.marked, decoded.finished) == (written, [False], [False])


def test_without_tokens_to_write_choices_are_read_right_after_the_prompts(model: PreTrainedModel) -> None:
    prompts = make_prompts(7)
    decoded = decode(model, prompts, max_new_tokens=0, uniforms=None, stop_ids=[STOP], pad_id=PAD, choice_ids=[1, 2, 3])
    expected = torch.stack([full_logprobs(model, prompt)[-1, [1, 2, 3]] for prompt in prompts])
    torch.testing.assert_close(decoded.choice_logprobs, expected, atol=1e-5, rtol=0)
    assert decoded.token_ids == [[]] * 7


def test_inverse_cdf_takes_the_token_in_whose_interval_the_uniform_falls() -> None:
    logits = torch.tensor([[0.5, 0.0, 0.3, 0.2]]).log().repeat(5, 1)
    tokens, logprobs = _draw(logits, torch.tensor([0.0, 0.49, 0.5, 0.79, 0.81]), temperature=1.0, top_p=1.0)
    assert tokens.tolist() == [0, 0, 2, 2, 3]
    assert logprobs.exp().tolist() == pytest.approx([0.5, 0.5, 0.3, 0.3, 0.2])


def test_the_largest_uniform_never_draws_an_impossible_token() -> None:
    logits = torch.tensor([[0.0, 0.0, -torch.inf]]).repeat(64, 1)
    tokens, _ = _draw(logits, torch.full((64,), 1 - 2**-24), temperature=1.0, top_p=1.0)
    assert tokens.tolist() == [1] * 64


def test_every_token_of_a_large_vocabulary_keeps_its_own_place_in_the_draw() -> None:
    size, tail = 40_000, 1e-4
    logits = torch.where(torch.arange(size) == 777, math.log((1 - tail) * (size - 1) / tail), 0.0)
    probs = torch.softmax(logits, dim=-1).double()
    ends = probs.cumsum(dim=-1) / probs.sum()
    middles = (ends - probs / 2).clamp(min=0)
    chosen = torch.tensor([0, 511, 512, 776, 777, 778, 1023, 20_000, 20_001, 39_935, 39_936, 39_998, 39_999])
    tokens, _ = _draw(logits.expand(len(chosen), size), middles[chosen], temperature=1.0, top_p=1.0)
    # blocks are added up in float32: a place may be a few tokens away, but no two tokens share one
    assert len(set(tokens.tolist())) == len(chosen)
    assert int((tokens - chosen).abs().max()) < 64
    assert tokens[4] == 777


def test_a_draw_from_blocks_is_the_inverse_of_the_sums_over_all() -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(400, 3_000)
    logits[:, 2_500:] = -torch.inf
    uniforms = row_uniforms([(row,) for row in range(400)], 1)[:, 0]
    tokens, _ = _draw(logits, uniforms, temperature=0.7, top_p=1.0)
    probs = torch.softmax(logits.double() / 0.7, dim=-1)
    expected = torch.searchsorted(probs.cumsum(dim=-1), uniforms[:, None], right=True).squeeze(1)
    assert torch.equal(tokens, expected)


def test_a_nucleus_that_is_nearly_all_leaves_out_what_is_beyond_it() -> None:
    size = 20_000
    logits = torch.cat([torch.tensor([math.log(1e9)]), torch.zeros(size)])[None]
    # the likeliest token has 1 - 2e-5, and each other 1e-9: half of them make up the rest of this nucleus
    tokens, _ = _draw(logits, torch.tensor([1 - 1e-15], dtype=torch.float64), temperature=1.0, top_p=1 - 1e-5)
    assert 0.4 * size < int(tokens) < 0.6 * size


def test_a_nucleus_of_seven_tenths_leaves_the_two_likeliest_tokens() -> None:
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log().repeat(4, 1)
    tokens, _ = _draw(logits, torch.tensor([0.0, 0.6, 0.63, 0.99]), temperature=1.0, top_p=0.7)
    # what is left is .5 and .3 of .8, in the vocabulary's order: the border is at .625
    assert tokens.tolist() == [1, 1, 2, 2]


def test_uniforms_depend_on_their_key_alone_and_longer_rows_begin_like_shorter_ones() -> None:
    short = row_uniforms([(3, 0), (3, 1)], 4)
    long = row_uniforms([(3, 1), (3, 0)], 9)
    assert torch.equal(short[0], long[1, :4])
    assert torch.equal(short[1], long[0, :4])
    assert not torch.equal(short[0], short[1])
    many = row_uniforms([(row,) for row in range(2000)], 5)
    assert 0 <= float(many.min()) < float(many.max()) < 1
    assert float(many.mean()) == pytest.approx(0.5, abs=0.01)


def test_a_uniform_has_53_bits_of_which_the_first_24_stay_what_a_float32_had() -> None:
    digest = hashlib.sha256(b"3,1").digest()
    philox = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    coarse = torch.from_numpy(np.random.Generator(philox).random(50, dtype=np.float32)).double()
    fine = row_uniforms([(3, 1)], 50)[0]
    assert torch.equal((fine * 2**24).floor(), coarse * 2**24)
    rest = (fine * 2**24) % 1
    assert float(rest.mean()) == pytest.approx(0.5, abs=0.15)
    assert len(set(rest.tolist())) == 50
    for length in range(50):
        assert torch.equal(row_uniforms([(3, 1)], length)[0], fine[:length])
