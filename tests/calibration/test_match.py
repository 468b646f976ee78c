"""Labels meet the run's samples: by id, by text, and never by guessing."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from rlaif.calibration.labels import OVERALL, LabelRow, Labels, Texts
from rlaif.calibration.match import Matched, match_labels
from rlaif.errors import DataError
from rlaif.records import Message, Prompt, Sample, Verdict


def prompt(text: str = "When?") -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),))


def sample(text: str, *, index: int = 0, of: Prompt | None = None) -> Sample:
    return Sample(prompt_id=(of or prompt()).id, policy_id="policy", index=index, finish_reason="stop", text=text)


A, B, C = sample("at nine"), sample(" go away", index=1), sample("at nine", index=2)


def label(
    pair: tuple[str, str] | Texts, *, where: str = "f:1", who: str = "ann", choice: Verdict = "first"
) -> LabelRow:
    return LabelRow(where, who, OVERALL, choice, pair)


def match(
    *rows: LabelRow,
    samples: Collection[Sample] = (A, B, C),
    pairs: Collection[tuple[Sample, Sample]] = ((A, B), (C, B)),
    elsewhere: Mapping[str, Sample] | None = None,
    brings_pairs: bool = False,
) -> Matched:
    return match_labels(
        Labels("f", "d", list(rows), brings_pairs=brings_pairs),
        samples=list(samples),
        pairs=[(a.id, b.id) for a, b in pairs],
        find=lambda ids: {i: found for i, found in (elsewhere or {}).items() if i in ids},
    )


def test_a_label_by_ids_keeps_the_order_in_which_they_were_shown() -> None:
    (found,) = match(label((B.id, A.id), choice="second")).labels
    assert (found.sample_ids, found.choice, found.prompt_id) == ((B.id, A.id), "second", prompt().id)


def test_a_label_by_texts_finds_the_compared_pair_whatever_spaces_stand_round_them() -> None:
    (found,) = match(label(Texts(prompt(), ("go away ", "at nine")))).labels
    assert found.sample_ids == (B.id, A.id)


def test_where_two_pairs_have_the_same_texts_a_persons_second_label_goes_to_the_second() -> None:
    texts = Texts(prompt(), ("at nine", "go away"))
    found = match(label(texts), label(texts, where="f:2"), label(texts, where="f:3", who="bob")).labels
    assert [found_.sample_ids for found_ in found] == [(A.id, B.id), (C.id, B.id), (A.id, B.id)]


def test_more_labels_of_the_same_texts_than_pairs_are_a_doubled_row() -> None:
    texts = Texts(prompt(), ("at nine", "go away"))
    with pytest.raises(DataError, match=r'"ann" labelled this pair twice under "overall" \(f:1 and f:3\)'):
        match(*(label(texts, where=f"f:{n}") for n in (1, 2, 3)))


def test_a_pair_that_was_sampled_and_not_compared_can_be_labelled() -> None:
    other = sample("it depends", index=3)
    found = match(label(Texts(prompt(), ("it depends", "go away"))), samples=(A, B, other), pairs=[(A, B)]).labels
    assert found[0].sample_ids == (other.id, B.id)


def test_ids_that_nobody_has_are_counted_and_the_first_is_named() -> None:
    with pytest.raises(DataError) as caught:
        match(label((A.id, B.id)), label((A.id, "f" * 32), where="f:2"), label(("0" * 32, B.id), where="f:3"))
    assert caught.value.sentence == (
        f"2 of 3 labels name samples that nobody has: {'f' * 32} (first at f:2): "
        "take the ids from the run that was labelled, and use its ledger"
    )


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (Texts(prompt("Why?"), ("at nine", "go away")), "its prompt is not this run's"),
        (Texts(prompt(), ("at ten", "go away")), "its prompt is known, its responses are not"),
    ],
)
def test_texts_that_nobody_has_are_told_with_what_is_unknown(texts: Texts, what: str) -> None:
    with pytest.raises(DataError) as caught:
        match(label(texts))
    assert caught.value.sentence == (
        f"1 of 1 labels name samples that nobody has: {what} (first at f:1): "
        "give prompt and responses exactly as the run has them"
    )


def test_labels_of_another_runs_samples_are_counted_and_left_out() -> None:
    x, y = sample("x", of=prompt("Why?")), sample("y", of=prompt("Why?"))
    found = match(label((A.id, B.id)), label((x.id, y.id)), elsewhere={x.id: x, y.id: y})
    assert len(found.labels) == 1
    assert str(found.tally) == "in 2, kept 1, dropped 1 (other_samples 1)"
    with pytest.raises(DataError, match="none of the 1 labels is of this run's samples"):
        match(label((x.id, y.id)), elsewhere={x.id: x, y.id: y})


def test_samples_of_different_prompts_are_no_pair() -> None:
    x = sample("x", of=prompt("Why?"))
    with pytest.raises(DataError, match=r"the two samples answer different prompts \(f:1\)"):
        match(label((A.id, x.id)), samples=(A, B, x))


def test_a_prompt_id_that_is_not_the_samples_is_told() -> None:
    with pytest.raises(DataError, match=f"the samples answer the prompt {prompt().id}, not 123"):
        match(label((A.id, B.id))._replace(prompt_id="123"))


def test_a_preference_set_brings_the_pairs_that_the_run_does_not_have() -> None:
    foreign = Texts(prompt("Why?"), ("because", "no"))
    own = Texts(prompt(), ("at nine", "go away"))
    found = match(label(foreign), label(own), brings_pairs=True)
    ((brought_prompt, model, first, second),) = found.brought
    assert (brought_prompt, first.text, second.text) == (foreign.prompt, "because", "no")
    assert first.policy_id == model.id
    assert [found_.sample_ids for found_ in found.labels] == [(first.id, second.id), (A.id, B.id)]
