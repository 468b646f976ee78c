"""The best of a prompt's responses: its probabilities, what makes none, and the folder it goes to and is read from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import datasets
import pytest

from rlaif.config.generate import PreferencesConfig
from rlaif.errors import DataError
from rlaif.preferences.export import export_preferences
from rlaif.preferences.pairing import pair_comparisons
from rlaif.preferences.read import read_preferences
from rlaif.records import (
    ChoiceRow,
    Comparison,
    Constitution,
    Preference,
    PreferenceRow,
    Principle,
    Prompt,
    RankingRow,
    Sample,
    Tally,
)

Compare = Callable[..., Comparison]
CHOICE = PreferencesConfig(kind="choice")
COURTEOUS = Constitution(
    name="c", principles=(Principle(id="courteous", text="Prefer the more courteous reply."),), source="name: c\n"
)
UTILITIES = {"a": 1.0, "b": 0.0, "c": -0.5}


def by_utility(compare: Compare, utilities: dict[str, float], *, flipped: bool = False) -> list[Comparison]:
    return [
        compare(
            "courteous", 1 / (1 + math.exp(utilities[b] - utilities[a])), logit=utilities[a] - utilities[b], ids=(a, b),
            flipped=flipped,
        )
        for a, b in combinations(sorted(utilities), 2)
    ]  # fmt: skip


def choose(comparisons: list[Comparison], config: PreferencesConfig = CHOICE, **more):
    return pair_comparisons(comparisons, constitution=COURTEOUS, config=config, round=1, **more)


def test_a_choice_holds_each_responses_probability_to_be_the_best(compare: Compare) -> None:
    comparisons = by_utility(compare, UTILITIES)
    pairing = choose(comparisons)
    [choice] = pairing.preferences
    total = math.fsum(math.exp(u) for u in UTILITIES.values())
    assert choice.shares == pytest.approx([math.exp(u) / total for u in UTILITIES.values()])
    assert (choice.kind, choice.sample_ids, choice.label) == ("choice", ("a", "b", "c"), max(choice.shares))
    assert choice.evidence_ids == tuple(comparison.id for comparison in comparisons)
    assert str(pairing.tally) == "in 1, kept 1, dropped 0"


def test_a_choice_of_two_has_the_label_of_their_pair(compare: Compare) -> None:
    [choice] = choose([compare("courteous", 0.7, logit=math.log(7 / 3))]).preferences
    assert choice.shares == pytest.approx((0.7, 0.3))


def test_near_ties_and_flips_make_no_choice(compare: Compare) -> None:
    near = by_utility(compare, {"a": 0.1, "b": 0.0, "c": -2.0})
    assert str(choose(near, CHOICE.model_copy(update={"min_margin": 0.1})).tally) == "in 1, kept 0, dropped 1 (tie 1)"
    flipped = by_utility(compare, UTILITIES, flipped=True)
    found = choose(flipped, CHOICE.model_copy(update={"drop_flipped": True}))
    assert str(found.tally) == "in 1, kept 0, dropped 1 (flipped 1)"


def test_a_response_that_nothing_joins_is_dropped_and_of_one_text_twice_the_first_stands(compare: Compare) -> None:
    samples = [
        Sample(prompt_id="prompt", policy_id="p", index=n, finish_reason="stop", text=text)
        for n, text in enumerate(("one", "two", "one", "lost"))
    ]
    one, two, twin, lost = samples
    comparisons = [
        compare("courteous", 0.8, logit=math.log(4), ids=(first.id, second.id))
        for first, second in ((one, two), (twin, two))
    ]
    comparisons = [
        c if c.sample_ids[0] < c.sample_ids[1] else compare(
            "courteous", 0.2, logit=-math.log(4), ids=c.sample_ids[::-1]
        )
        for c in comparisons
    ]  # fmt: skip
    pairing = choose(comparisons, pairs=[(one, two), (twin, two), (two, lost)])
    [choice] = pairing.preferences
    assert set(choice.sample_ids) == {min(one.id, twin.id), two.id}
    shares = dict(zip(choice.sample_ids, choice.shares, strict=True))
    assert shares[two.id] == pytest.approx(0.2)
    assert str(pairing.tally) == "in 2, kept 1, dropped 1 (failed_judgement 1)"


def make_choices(prompts: list[Prompt]) -> tuple[list[Preference], dict[str, Sample]]:
    preferences, samples = [], {}
    for number, prompt in enumerate(prompts):
        three = [
            Sample(prompt_id=prompt.id, policy_id="p", index=n, finish_reason="stop", text=f"reply {n} to {number}")
            for n in range(3)
        ]
        samples.update({sample.id: sample for sample in three})
        ids = tuple(sorted(sample.id for sample in three))
        preferences.append(
            Preference(
                kind="choice", prompt_id=prompt.id, sample_ids=ids, label=0.5, shares=(0.5, 0.3, 0.2),
                evidence_ids=("x",), judge_id="judge", weight=2.0,
            )
        )  # fmt: skip
    return preferences, samples


def export(preferences: list[Preference], samples: dict[str, Sample], prompts: list[Prompt], folder: Path) -> Path:
    return export_preferences(
        preferences, prompts={prompt.id: prompt for prompt in prompts}, samples=samples, judge_name="a judge",
        constitution=COURTEOUS, out_dir=folder, test_fraction=0.2, tally=Tally(num_in=len(preferences)),
    ).path  # fmt: skip


def test_exported_choices_load_with_datasets_and_are_read_back(prompts: list[Prompt], tmp_path: Path) -> None:
    preferences, samples = make_choices(prompts)
    folder = export(preferences, samples, prompts, tmp_path / "dataset")
    rows = [*read_preferences(folder), *read_preferences(folder, split="test")]
    assert len(rows) == len(prompts) == 40
    by_prompt = {preference.prompt_id: preference for preference in preferences}
    for row in rows:
        assert isinstance(row, ChoiceRow)
        choice = by_prompt[row.prompt.id]
        assert row.responses == tuple(samples[key].text for key in choice.sample_ids)
        assert (row.shares, row.weight) == (choice.shares, 2.0)
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: len(found) for split, found in loaded.items()}.keys() == {"train", "test"}
    first = loaded["train"][0]
    assert (first["probabilities"], first["best"], first["judge"]) == ([0.5, 0.3, 0.2], 0, "a judge")
    assert [message[0]["role"] for message in first["responses"]] == ["assistant"] * 3
    card = (folder.parent / "README.md").read_text()
    assert "| `probabilities` | of each response, that it is the best of them; they sum to 1 |" in card
    assert "DPOTrainer" not in card


def test_choices_and_peoples_pairs_stand_beside_each_other(
    prompts: list[Prompt], samples: list[Sample], tmp_path: Path
) -> None:
    choices, of_choices = make_choices(prompts)
    pair = Preference(
        prompt_id=samples[0].prompt_id, sample_ids=tuple(sorted((samples[0].id, samples[1].id))), label=1.0,
        source="human", evidence_ids=("label",),
    )  # fmt: skip
    everything = of_choices | {sample.id: sample for sample in samples}
    folder = export([*choices, pair], everything, prompts, tmp_path / "dataset")
    rows = [*read_preferences(folder), *read_preferences(folder, split="test")]
    assert sum(isinstance(row, PreferenceRow) for row in rows) == 1
    assert len(rows) == 41
    assert (
        len(datasets.load_dataset(str(folder.parent), "choices", split="train", cache_dir=str(tmp_path / "cache"))) > 20
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probabilities": [0.5, 0.4]}, "sum to 1"),
        ({"probabilities": [1.0]}, "a share of at least 0 for each response"),
        ({"probabilities": None}, 'are not two lists'),
        ({"responses": ["alone"], "probabilities": [1.0]}, "at least 2"),
        ({"responses": [["no message"], "b"]}, "responses 1"),
    ],
)  # fmt: skip
def test_a_choice_that_cannot_be_read_is_refused_with_its_place(tmp_path: Path, change: dict, words: str) -> None:
    row = {"prompt": "When?", "responses": ["a", "b"], "probabilities": [0.5, 0.5]} | change
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError) as error:
        read_preferences(path)
    assert words in error.value.sentence
    assert str(path) in error.value.sentence


def test_a_choice_as_pairs_sets_the_best_against_each_other_one(prompts: list[Prompt]) -> None:
    row = ChoiceRow(prompt=prompts[0], responses=("a", "b", "c"), shares=(0.2, 0.6, 0.2), weight=3.0)
    pairs = row.as_pairs()
    assert [(pair.chosen, pair.rejected, pair.weight) for pair in pairs] == [("b", "a", 3.0), ("b", "c", 3.0)]
    assert [pair.label for pair in pairs] == pytest.approx([0.75, 0.75])


def test_a_ranking_is_read_best_first(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    row = {"prompt": "When?", "responses": ["a", "b", "c"], "ranks": [2, 3, 1], "weight": 2, "source": "human"}
    path.write_text(json.dumps(row) + "\n")
    [found] = read_preferences(path)
    assert isinstance(found, RankingRow)
    assert (found.responses, found.weight, found.source) == (("c", "a", "b"), 2.0, "human")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ranks": [1, 2, 2]}, "responses 2 and 3 have the same rank"),
        ({"ranks": [1, 2]}, '"responses" and "ranks" are not two lists of one length'),
        ({"ranks": [1, 2, "best"]}, '"ranks" holds what is no number'),
    ],
)
def test_a_ranking_with_ties_or_gaps_is_refused_with_its_place(tmp_path: Path, change: dict, words: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"prompt": "When?", "responses": ["a", "b", "c"]} | change) + "\n")
    with pytest.raises(DataError) as error:
        read_preferences(path)
    assert words in error.value.sentence
    assert str(path) in error.value.sentence
