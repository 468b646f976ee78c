"""Each preset from prompts to preferences with a function as the judge: what is asked, and what a label is by hand."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rlaif import pipeline
from rlaif.cli import app
from rlaif.config.load import load_config
from rlaif.constitution.principles import parse_constitution
from rlaif.constitution.selection import draw_principle
from rlaif.ledger.store import Ledger
from rlaif.loop.open_run import open_work
from rlaif.records import Comparison, Judgement, Preference, Question
from rlaif.stats.logits import sigmoid

PRINCIPLES = "name: c\nprinciples:\n  - {id: kind, text: Be kind.}\n  - {id: brief, text: Be brief.}\n"
SMALL = ["prompts.num_prompts=12", "sampling.num_samples=2", "sampling.num_pairs=1", "judge.model.engine=scripted"]


def generate(folder: Path, preset: str, *overrides: str, script: str = "by_principle") -> None:
    (folder / "c.yaml").write_text(PRINCIPLES)
    config = load_config(
        overrides=[
            *SMALL, f"preset={preset}", f"constitution={folder / 'c.yaml'}",
            f"judge.model.path=panel_judges:{script}", *overrides,
        ]
    )  # fmt: skip
    with open_work(config, run_name=preset, runs_dir=folder / "runs", resume=False) as work:
        pipeline.generate_preferences(work)


class Made:
    """What a run left in its ledger."""

    def __init__(self, folder: Path, preset: str) -> None:
        with Ledger.open(folder / "runs" / "ledger.sqlite", read_only=True) as ledger:
            self.preferences = ledger.used(preset, 0, "4_preferences", Preference)
            self.comparisons = {c.id: c for c in ledger.used(preset, 0, "3_judgements", Comparison)}
            self.questions = ledger.used(preset, 0, "3_judgements", Question)
            self.judgements = {j.question_id: j for j in ledger.used(preset, 0, "3_judgements", Judgement)}

    def logprobs(self, question: Question) -> dict[str, float]:
        return {entry.verdict: entry.logprob for entry in self.judgements[question.id].logprobs}


def show(folder: Path, record_id: str) -> str:
    shown = CliRunner().invoke(
        app, ["audit", "show", record_id, "--runs-dir", str(folder / "runs")], env={"COLUMNS": "200"}
    )
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def test_cai_asks_one_drawn_principle_in_one_order_and_its_probability_is_the_label(tmp_path: Path) -> None:
    generate(tmp_path, "cai")
    made = Made(tmp_path, "cai")
    principles = parse_constitution(PRINCIPLES, where="c.yaml").principles
    assert len(made.questions) == len(made.preferences)
    by_pair = {tuple(sorted(question.sample_ids)): question for question in made.questions}
    for preference in made.preferences:
        question = by_pair[preference.sample_ids]
        assert question.principles[0].id == draw_principle(principles, preference.sample_ids, seed=0).id
        said = made.logprobs(question)
        # exp(first) / (exp(first) + exp(second)), for whichever was shown first
        p_shown_first = math.exp(said["first"]) / (math.exp(said["first"]) + math.exp(said["second"]))
        expected = p_shown_first if question.sample_ids == preference.sample_ids else 1 - p_shown_first
        assert preference.label == pytest.approx(expected)
        assert preference.making is None
    assert {q.principles[0].id for q in made.questions} == {"kind", "brief"}
    assert {c.debiased for c in made.comparisons.values()} == {False}


def test_cai_cot_reasons_first_and_clamps_its_labels(tmp_path: Path) -> None:
    generate(tmp_path, "cai_cot", script="sure_with_a_reason")
    made = Made(tmp_path, "cai_cot")
    assert {judgement.reason for judgement in made.judgements.values()} == {"Length tells."}
    assert {preference.label for preference in made.preferences} == {0.4, 0.6}
    shown = show(tmp_path, made.preferences[0].id)
    assert "Labels are kept between 0.4 and 0.6." in shown
    assert "combined  0.9" in shown or "combined  0.0" in shown


def test_lee2023_asks_all_at_once_in_both_orders_and_averages_the_probabilities(tmp_path: Path) -> None:
    generate(tmp_path, "lee2023", script="first_is_better")
    made = Made(tmp_path, "lee2023")
    assert len(made.questions) == 2 * len(made.preferences)
    assert {question.principles[0].id for question in made.questions} == {"together"}
    by_shown = {question.sample_ids: question for question in made.questions}
    for preference in made.preferences:
        a, b = preference.sample_ids
        listed, swapped = made.logprobs(by_shown[a, b]), made.logprobs(by_shown[b, a])
        assert preference.label == pytest.approx((math.exp(listed["first"]) + math.exp(swapped["second"])) / 2)
    averaged = [made.comparisons[preference.evidence_ids[0]].p_first for preference in made.preferences]
    assert averaged != pytest.approx([preference.label for preference in made.preferences]), "not as log-odds are"


def test_salmon_takes_the_surest_of_a_few_principles_by_its_sign(tmp_path: Path) -> None:
    generate(tmp_path, "salmon", "preferences.label_noise=0", "preferences.subset_p=0.4")
    made = Made(tmp_path, "salmon")
    assert len(made.questions) == 4 * len(made.preferences)
    score = {c.id: 0.0 if c.flipped else c.logit for c in made.comparisons.values()}
    spread = {
        name: math.sqrt(math.fsum(value**2 for value in own) / len(own))
        for name in ("kind", "brief")
        for own in [[score[c.id] for c in made.comparisons.values() if c.principle.id == name]]
    }
    sizes = Counter()
    for preference in made.preferences:
        assert preference.making is not None
        evidence = [made.comparisons[key] for key in preference.evidence_ids]
        drawn = [c for c, one in zip(evidence, preference.making.counted, strict=True) if one.why != "not_drawn"]
        sizes[len(drawn)] += 1
        surest = max((score[c.id] / spread[c.principle.id] for c in drawn), key=abs)
        assert preference.making.combined == pytest.approx(sigmoid(surest))
        assert preference.label == (0.5 if surest == 0 else float(surest > 0))
    assert set(sizes) == {1, 2}


def test_salmon_counts_a_verdict_that_follows_the_order_as_nothing(tmp_path: Path) -> None:
    generate(tmp_path, "salmon", "preferences.label_noise=0", script="first_is_better")
    made = Made(tmp_path, "salmon")
    assert {preference.label for preference in made.preferences} == {0.5}
    shown = show(tmp_path, made.preferences[0].id)
    assert "counts as  p 0.5000, logit +0.0000 (a tie, as its two orders disagree)" in shown
    assert "Each pair is decided by one of its principles alone: the one under which the judge is surest." in shown


def test_mtbench_wins_what_both_orders_say_and_ties_the_rest(tmp_path: Path) -> None:
    generate(tmp_path, "mtbench", script="with_ties")
    made = Made(tmp_path, "mtbench")
    by_shown = {question.sample_ids: made.judgements[question.id].verdict for question in made.questions}
    seen = Counter()
    for preference in made.preferences:
        a, b = preference.sample_ids
        both = by_shown[a, b], by_shown[b, a]
        wins = {("first", "second"): 1.0, ("second", "first"): 0.0}
        assert preference.label == wins.get(both, 0.5)
        seen[preference.label == 0.5] += 1
    assert min(seen[True], seen[False]) > 0, "some win and some tie"
    rows = [
        row for path in (tmp_path / "runs").rglob("*.parquet") if "dataset" in str(path)
        for row in pq.read_table(path).to_pylist()
    ]  # fmt: skip
    assert {row["label"] for row in rows} == {0.5, 1.0}


def test_the_labels_of_a_recipe_are_explained_where_people_look(tmp_path: Path) -> None:
    generate(tmp_path, "lee2023")
    made = Made(tmp_path, "lee2023")
    preference = made.preferences[0]
    comparison = made.comparisons[preference.evidence_ids[0]]
    shown = show(tmp_path, preference.id[:16])
    for words in (
        f"preference {preference.id}", f"comparison {comparison.id}", "principle  together, weight 1",
        f"order 1  {comparison.orders[0].verdict} of the pair, logit {comparison.orders[0].logit:+.4f}",
        "but  Probabilities are averaged over the two orders, not their log-odds.",
        f"label  {preference.label:.4f}", "used by  run lee2023, round 0, stage 4_preferences",
    ):  # fmt: skip
        assert words in shown
    assert f"went into  preference {preference.id}, label {preference.label:.4f}" in show(tmp_path, comparison.id)
    card = (tmp_path / "runs" / "lee2023" / "round_00" / "4_preferences" / "README.md").read_text()
    assert "Probabilities are averaged over the two orders" in card


def test_a_choice_by_a_recipe_is_explained_response_by_response(tmp_path: Path) -> None:
    generate(
        tmp_path, "lee2023", "preferences.kind=choice", "sampling.num_samples=3", "sampling.num_pairs=3",
        "prompts.num_prompts=4",
    )  # fmt: skip
    preference = Made(tmp_path, "lee2023").preferences[0]
    assert preference.making is not None
    assert len(preference.making.counted) == len(preference.evidence_ids) == 3
    shown = show(tmp_path, preference.id)
    for sample_id, share in zip(preference.sample_ids, preference.shares, strict=True):
        assert f"response  {sample_id}, the best with p {share:.4f}" in shown
    assert "which gives each its probability to be the best" in shown


def test_the_users_own_options_win_over_the_preset_on_the_command_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(PRINCIPLES)
    Path("rlaif.yaml").write_text(
        "constitution: c.yaml\nprompts: {num_prompts: 4}\nsampling: {num_samples: 2, num_pairs: 1}\n"
        'judge: {both_orders: true, model: {engine: scripted, path: "panel_judges:by_principle"}}\n'
    )
    own = ["--set", "preferences.clamp=0.3", "--set", "judge.both_orders=true"]
    done = CliRunner().invoke(app, ["generate-prefs", "--preset", "cai", *own])
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "--preset cai wins over rlaif.yaml: judge.both_orders is false, not true" in told
    assert "--set wins over the preset cai: preferences.clamp is 0.3, not 0.0" in told
    assert "judge.both_orders is true, not false" in told
    assert "ppo.learning_rate 0.0007" in told
    [name] = [path.name for path in Path("runs").iterdir() if path.is_dir()]
    kept = json.loads(Path("runs", name, "config.json").read_text())
    assert kept["resolved"]["ppo.learning_rate"] == kept["config"]["ppo"]["learning_rate"] == 7e-4
    assert "judge.template" not in kept["resolved"]  # the preset gave it
    with Ledger.open(Path("runs/ledger.sqlite"), read_only=True) as ledger:
        preferences = ledger.used(name, 0, "4_preferences", Preference)
        comparisons = ledger.used(name, 0, "3_judgements", Comparison)
    assert {c.debiased for c in comparisons} == {True}
    assert all(0.3 <= preference.label <= 0.7 for preference in preferences)
