from __future__ import annotations

import pytest
from families import build_tokenizer

from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import Message, PreferenceRow, Prompt
from rlaif.reward_model.data import (
    Choice,
    Item,
    Pair,
    Rated,
    cut_batch,
    digest_pairs,
    encode_example,
    encode_pairs,
    plan_epoch,
    smooth_labels,
)

PROMPT = Prompt(messages=(Message(role="user", content="When?"),))


def row(chosen: str, rejected: str, *, label: float = 1.0, weight: float = 1.0) -> PreferenceRow:
    return PreferenceRow(prompt=PROMPT, chosen=chosen, rejected=rejected, label=label, weight=weight)


def test_a_sequence_is_the_prompt_then_the_response_and_the_token_that_ends_it(base: LoadedModel) -> None:
    encoded = encode_pairs([row("At nine.", "No.")], encoder=base.encoder, max_length=100)
    [only] = encoded.pairs
    sequence = list(encoded.sequences[only.chosen])
    prompt_ids = base.encoder.encode(PROMPT.as_segments())
    assert sequence[: len(prompt_ids)] == prompt_ids
    assert base.encoder.decode(sequence[len(prompt_ids) :]) == "At nine."
    assert sequence[-1] == base.encoder.end_token_id


def test_where_answers_do_not_follow_the_generation_prompt_a_sequence_is_the_templates_conversation() -> None:
    """As in DeepSeek-R1: the prompt opens a thought, and a finished answer stands without one."""
    tokenizer = build_tokenizer("chatml")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role + ':' + m.content.split('</think>')[-1] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant:<think>\n{% endif %}"
    )
    encoder = PromptEncoder(tokenizer)
    encoded = encode_pairs([row("Well.</think>At nine.", "No.")], encoder=encoder, max_length=100)
    [only] = encoded.pairs
    for place, text in ((only.chosen, "At nine."), (only.rejected, "No.")):
        shown = f"<|im_start|>user:When?<|im_end|><|im_start|>assistant:{text}<|im_end|>"
        assert tokenizer.decode(encoded.sequences[place]) == shown
    assert encode_example(PROMPT, "No.", encoder=encoder) == encoded.sequences[only.rejected]


def test_pairs_that_cannot_be_learnt_from_are_dropped_by_name_and_never_cut(base: LoadedModel) -> None:
    rows = [
        row("At nine.", "No."),
        row("At nine.", "No. " * 50),
        row("Yes.", "Yes."),
        row("a", "b", weight=0.0),
    ]
    encoded = encode_pairs(rows, encoder=base.encoder, max_length=60)
    assert str(encoded.tally) == "in 4, kept 1, dropped 3 (identical 1, over_length 1, weightless 1)"
    assert all(sequence[-1] == base.encoder.end_token_id for sequence in encoded.sequences)


def test_a_response_in_several_pairs_is_one_sequence(base: LoadedModel) -> None:
    encoded = encode_pairs([row("a", "b"), row("c", "a"), row("b", "c")], encoder=base.encoder, max_length=100)
    assert len(encoded.sequences) == 3
    assert [(p.chosen, p.rejected) for p in encoded.pairs] == [(0, 1), (2, 0), (1, 2)]


def make_pairs(num_prompts: int, per_prompt: int) -> list[Pair]:
    return [Pair(f"prompt {n % num_prompts}", 0, 1, 1.0, 1.0) for n in range(num_prompts * per_prompt)]


def test_an_epoch_takes_every_pair_once_in_full_batches() -> None:
    batches = plan_epoch(make_pairs(17, 3), batch_size=8, seed=1, epoch=0)
    assert sorted(place for batch in batches for place in batch) == list(range(51))
    assert [len(batch) for batch in batches] == [8, 8, 8, 8, 8, 8, 3]


def test_pairs_of_a_prompt_follow_one_another() -> None:
    pairs = make_pairs(17, 3)
    order = [place for batch in plan_epoch(pairs, batch_size=8, seed=1, epoch=0) for place in batch]
    prompts = [pairs[place].prompt_id for place in order]
    assert all(len(set(prompts[at : at + 3])) == 1 for at in range(0, 51, 3))


def test_the_order_is_keyed_by_seed_and_epoch_alone() -> None:
    def plan(seed: int, epoch: int) -> list[list[int]]:
        return plan_epoch(make_pairs(17, 3), batch_size=8, seed=seed, epoch=epoch)

    assert plan(1, 0) == plan(1, 0)
    assert plan(1, 0) != plan(1, 1)
    assert plan(1, 0) != plan(2, 0)


def test_micro_batches_are_the_batch_in_its_order() -> None:
    batch = make_pairs(5, 1)
    assert [len(part) for part in cut_batch(batch, size=2)] == [2, 2, 1]
    assert [pair for part in cut_batch(batch, size=2) for pair in part] == batch
    assert list(cut_batch(batch, size=None)) == [batch]


def test_the_digest_knows_tokens_labels_and_weights(base: LoadedModel) -> None:
    def digest(*rows: PreferenceRow) -> str:
        return digest_pairs(encode_pairs(rows, encoder=base.encoder, max_length=100))

    first = digest(row("a", "b"))
    assert first == digest(row("a", "b"))
    others = {digest(row("a", "c")), digest(row("a", "b", label=0.9)), digest(row("a", "b", weight=2.0))}
    assert len(others | {first}) == 4


def test_smoothing_spreads_a_share_of_each_label_evenly_and_leaves_ratings() -> None:
    items: list[Item] = [
        Pair("a", 0, 1, label=1.0, weight=2.0),
        Choice("b", (0, 1, 2, 3), shares=(1.0, 0.0, 0.0, 0.0), weight=1.0),
        Rated("c", 0, "thumb", 0.0, weight=1.0),
        Rated("d", 0, "rating", 1.7, weight=1.0),
    ]
    pair, choice, thumb, rating = smooth_labels(items, share=0.2)
    assert isinstance(pair, Pair)
    assert isinstance(choice, Choice)
    assert isinstance(thumb, Rated)
    assert (pair.label, pair.weight, thumb.target) == (pytest.approx(0.9), 2.0, pytest.approx(0.1))
    assert choice.shares == pytest.approx((0.85, 0.05, 0.05, 0.05))
    assert rating == items[3]
