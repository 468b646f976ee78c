"""People's labels: which splits of a folder are read, and what a panel's judges count once people have labelled."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from rlaif.calibration.labels import LabelRow, Labels, Texts
from rlaif.config.calibration import HumanConfig
from rlaif.config.preferences import PreferencesConfig
from rlaif.errors import DataError
from rlaif.preferences.label import LabelRule
from rlaif.preferences.pairing import decide_pairs
from rlaif.preferences.people import Labelled, Mix, label_inputs, load_labels, mix_labels
from rlaif.records import (
    Comparison,
    Constitution,
    Message,
    Panel,
    PanelMember,
    Principle,
    PrincipleKey,
    Prompt,
    Sample,
)
from rlaif.stats.logits import canonical_pair, sigmoid


def folder(path: Path, *names: str) -> str:
    for name in names:
        row = {"prompt": name, "chosen": "Yes.", "rejected": "No."}
        (path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    return str(path)


def read(path: str, split: str | None = None) -> list[str]:
    labels = load_labels(HumanConfig(path=path, split=split))
    assert labels is not None
    return [row.pair.prompt.messages[0].content for row in labels.rows if isinstance(row.pair, Texts)]


def test_labels_of_several_splits_are_named_or_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, "train_a", "train_b", "test_a")
    with pytest.raises(DataError, match=r"train_a, train_b .*: name one by human\.split=train_a"):
        read(path)
    assert read(path, "train_b") == ["train_b"]
    assert read(path, "train_a+test_a") == ["test_a", "train_a"]


def test_without_a_name_labels_are_the_training_and_the_test_split(tmp_path: Path) -> None:
    assert read(folder(tmp_path, "train", "test", "dev")) == ["train", "test"]


def test_another_split_of_the_labels_is_another_input_of_the_run(tmp_path: Path) -> None:
    path = folder(tmp_path, "train", "test")
    plain, named = (label_inputs(HumanConfig(path=path, split=split)) for split in (None, "train"))
    assert set(plain["human_labels"]) == {"file"}
    assert set(named["human_labels"]) == {"file", "split"}


def test_a_file_of_labels_has_no_split(tmp_path: Path) -> None:
    folder(tmp_path, "train")
    with pytest.raises(DataError, match=r"a file has no parts.*leave human\.split out"):
        read(str(tmp_path / "train.jsonl"), "train")


def test_people_are_combined_by_their_errors_from_three_people_on(tmp_path: Path) -> None:
    def write(*people: str) -> HumanConfig:
        rows = [f"a,b,first,{who}" for who in people]
        (tmp_path / "labels.csv").write_text("\n".join(["first_id,second_id,choice,annotator", *rows]))
        return HumanConfig(path=str(tmp_path / "labels.csv"), combine="dawid_skene")

    with pytest.raises(DataError, match="the labels are of 2 people, and who of them errs shows only among 3 or more"):
        load_labels(write("ann", "bob"))
    labels = load_labels(write("ann", "bob", "cem"))
    assert labels is not None
    assert len(labels.rows) == 3


KIND, BRIEF = Principle(id="kind", text="Be kind."), Principle(id="brief", text="Be brief.", weight=3.0)
CONSTITUTION = Constitution(name="two", principles=(KIND, BRIEF), source="s")
PANEL = Panel(members=(PanelMember(judge_id="good"), PanelMember(judge_id="coin", weight=2.0)))


def judged_world(num_pairs: int) -> tuple[list[tuple[Sample, Sample]], list[Comparison], Labels]:
    """Pairs that the judge `good` reads right and `coin` by chance, and a person's choice of each by its truth."""
    rng = random.Random(4)
    pairs, comparisons, rows = [], [], []
    for number in range(num_pairs):
        prompt = Prompt(messages=(Message(role="user", content=f"Question {number}?"),))
        one, other = (
            Sample(prompt_id=prompt.id, policy_id="policy", index=i, finish_reason="stop", text=f"Reply {i}.")
            for i in range(2)
        )
        ids = canonical_pair(one.id, other.id)
        truth = rng.choice((-2.0, 2.0))
        for judge_id, logit in (("good", truth), ("coin", rng.gauss(0, 3))):
            comparisons += [
                Comparison(
                    prompt_id=prompt.id,
                    sample_ids=ids,
                    principle=PrincipleKey(id=principle.id, text_digest=principle.digest),
                    judge_id=judge_id,
                    judgement_ids=("x", "y"),
                    p_first=sigmoid(logit),
                    logit=logit,
                    debiased=True,
                )
                for principle in (KIND, BRIEF)
            ]
        pairs.append((one, other))
        choice = "first" if rng.random() < sigmoid(truth) else "second"
        rows.append(LabelRow(f"line {number}", "ann", "overall", choice, ids))  # type: ignore[arg-type]
    return pairs, comparisons, Labels("labels.jsonl", "digest", rows, brings_pairs=False)


def mixed(num_pairs: int) -> tuple[Mix, list[Comparison]]:
    pairs, comparisons, labels = judged_world(num_pairs)
    labelled = Labelled(
        constitution=CONSTITUTION, round=0, samples=[sample for pair in pairs for sample in pair], pairs=pairs,
        earlier_samples=[], earlier_comparisons=[], find_samples=lambda ids: {},
    )  # fmt: skip
    mix = mix_labels(
        labels, labelled, comparisons=comparisons, panel=PANEL, rule=LabelRule(PreferencesConfig()),
        config=HumanConfig(path="labels.jsonl"), draw_seed=None, is_scaled=True,
    )  # fmt: skip
    return mix, comparisons


def test_the_parts_of_a_pairs_logit_are_by_principle_and_judge_and_sum_to_it() -> None:
    _, comparisons, _ = judged_world(5)
    for judged in decide_pairs(comparisons, constitution=CONSTITUTION, panel=PANEL).values():
        shares = {(part.principle_id, part.judge_id): part.share for part in judged.parts}
        assert shares == pytest.approx({
            ("kind", "good"): 1 / 12, ("brief", "good"): 3 / 12, ("kind", "coin"): 2 / 12, ("brief", "coin"): 6 / 12,
        })  # fmt: skip
        assert sum(part.share * part.logit for part in judged.parts) == pytest.approx(judged.label.logit)


def test_a_panels_labels_follow_the_judge_that_people_bear_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labels.jsonl").write_text("")
    mix, comparisons = mixed(300)
    assert mix.relabelling is not None
    assert mix.calibration is not None
    found = mix.calibration["calibration"]["map"]
    assert found["kind"] == "panel"
    slopes = {part["name"]: part["slope"] for part in found["by_judge"]}
    assert slopes["good"] == pytest.approx(3.0, abs=0.8)  # a third of the panel's weight is the good judge's
    assert slopes["coin"] < 0.15
    for pair, judged in decide_pairs(comparisons, constitution=CONSTITUTION, panel=PANEL).items():
        calibrated = mix.relabelling.relabel(pair, judged)
        good = next(part.logit for part in judged.parts if part.judge_id == "good")
        assert (calibrated > 0.5) == (good > 0)
    assert any("judge good slope" in note for note in mix.notes)
