"""How much people's rows count, chosen by how well people's choices are predicted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from rlaif.config.reward_model import RewardModelConfig
from rlaif.config.run import RunConfig
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import PreferenceRow
from rlaif.reward_model.data import Pair, digest_pairs, encode_pairs
from rlaif.reward_model.human_weight import choose_weight, weigh_people, why_not_chosen
from rlaif.reward_model.save import RESULTS
from rlaif.reward_model.train import train_reward_model
from rlaif.training.listener import Listener

DIMENSIONS = 6


def draw(num_judge: int, num_human: int, *, judge_errs: bool, seed: int = 0) -> tuple[Tensor, list[Pair]]:
    """A judge that likes the first feature beside the truth where it errs; people who choose by the truth."""
    generator = torch.Generator().manual_seed(seed)
    num = num_judge + num_human
    features = torch.randn(2 * num, DIMENSIONS, dtype=torch.float64, generator=generator)
    truth = torch.tensor([0.0, 1.0, 1.0, -1.0, 0.5, 0.0], dtype=torch.float64)
    liked = truth + (torch.tensor([2.0, 0, 0, 0, 0, 0]) if judge_errs else 0.0)
    pairs = []
    for place in range(num):
        is_human = place >= num_judge
        margin = float((features[2 * place] - features[2 * place + 1]) @ (truth if is_human else liked))
        label = 1 / (1 + math.exp(-margin))
        if is_human:
            label = float(torch.rand(1, generator=generator)) < label
        source: Any = "human" if is_human else "judge"
        pairs.append(Pair(str(place), 2 * place, 2 * place + 1, label=float(label), weight=1.0, source=source))
    return features, pairs


def test_people_count_much_beside_a_judge_that_errs_and_little_beside_one_that_is_right() -> None:
    features, pairs = draw(300, 60, judge_errs=True)
    beside_wrong = choose_weight(features, pairs, center_rewards_coefficient=0.0)
    features, pairs = draw(300, 60, judge_errs=False)
    beside_right = choose_weight(features, pairs, center_rewards_coefficient=0.0)
    assert beside_wrong.weight == 20
    assert beside_right.weight == 1
    assert (beside_wrong.num_rows, beside_wrong.num_prompts) == (60, 60)
    assert beside_wrong.log_loss["20"] < beside_wrong.log_loss["5"] < beside_wrong.log_loss["1"]
    assert beside_wrong.log_loss_without is not None
    assert beside_wrong.log_loss_without > beside_wrong.log_loss["1"] + 0.02
    assert "; without them: " in beside_wrong.describe()


def test_people_keep_their_weights_among_themselves_and_the_judges_rows_stay() -> None:
    rows = [
        Pair("a", 0, 1, label=1.0, weight=2.0, source="human"),
        Pair("b", 0, 1, label=1.0, weight=6.0, source="human"),
        Pair("c", 0, 1, label=1.0, weight=0.5, source="judge"),
    ]
    assert [row.weight for row in weigh_people(rows, weight=20.0)] == [10.0, 30.0, 0.5]


def test_no_weight_is_chosen_for_few_prompts_or_without_a_judge() -> None:
    human = [Pair(str(n), 0, 1, label=1.0, weight=1.0, source="human") for n in range(10)]
    judge = Pair("j", 0, 1, label=1.0, weight=1.0, source="judge")
    assert why_not_chosen([*human, judge]) == ""
    assert "people labelled pairs of 9 prompts" in why_not_chosen([*human[:9], judge])
    assert "all rows are people's" in why_not_chosen(human)


@pytest.mark.parametrize("way", ["all", "readout"])
def test_a_training_chooses_the_weight_says_so_and_leaves_what_that_weight_would_leave(
    way: Any, base: LoadedModel, train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    rows = [
        row.model_copy(update={"source": "human" if n % 3 else "judge", "label": 0.9 if n % 3 else 0.4, "prompt": p})
        for n, row in enumerate(train_rows)
        for p in [train_rows[0].prompt.changed(messages=(spoken(row, n),))]
    ]
    notes: list[str] = []
    shared: dict[str, Any] = {} if way == "readout" else {"num_epochs": 1, "learning_rate": 1e-3}

    def train(name: str, **options: Any) -> Any:
        return train_reward_model(
            base=base, train_rows=options.pop("rows", rows), test_rows=[], out_dir=tmp_path / name, seed=1,
            config=RewardModelConfig(train=way, **shared, **options), listener=Listener(on_note=notes.append),
        )  # fmt: skip

    chosen = train("chosen", human_weight="cross_validated")
    [said] = notes
    weight = chosen.card.metrics["human_weight"]
    assert said.startswith(f"people's rows count {weight:g} each (14 rows of 14 prompts)")
    assert said in (chosen.path / "README.md").read_text()
    weighted = [row.model_copy(update={"weight": weight}) if row.source == "human" else row for row in rows]
    given = train("given", rows=weighted)
    assert (chosen.path / "model.safetensors").read_bytes() == (given.path / "model.safetensors").read_bytes()
    assert "human_weight" not in (given.path / RESULTS).read_text()
    assert "human_weight" not in given.card.metrics


def spoken(row: PreferenceRow, number: int) -> Any:
    return row.prompt.messages[0].model_copy(update={"content": f"{row.prompt.messages[0].content} ({number})"})


def test_who_preferred_is_in_the_digest_only_where_the_training_sees_it(
    base: LoadedModel, train_rows: list[PreferenceRow]
) -> None:
    human = [row.model_copy(update={"source": "human"}) for row in train_rows]
    one, other = (encode_pairs(rows, encoder=base.encoder, max_length=512) for rows in (train_rows, human))
    assert digest_pairs(one) == digest_pairs(other)
    assert digest_pairs(one, with_sources=True) != digest_pairs(other, with_sources=True)


def test_a_weight_of_people_where_there_are_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="there are no rows of people"):
        RunConfig.model_validate({"reward_model": {"human_weight": "cross_validated"}})
    RunConfig.model_validate({
        "reward_model": {"human_weight": "cross_validated"}, "human": {"path": "labels.jsonl"},
    })  # fmt: skip
