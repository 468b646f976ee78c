"""Several judges through the pipeline: who is asked what, what their labels make, caps, interruption, the report."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from chat_server import ChatServer, running
from typer.testing import CliRunner

from rlaif import pipeline
from rlaif.cli import app
from rlaif.config.load import load_config
from rlaif.errors import RunFolderError, StageError
from rlaif.judging.stage import read_judged
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.loop.dry_run import describe_estimate, estimate_run
from rlaif.loop.open_run import open_work
from rlaif.preferences.stage import diff_constitutions
from rlaif.records import CalibrationCard, Comparison, FailedJudgement, Panel, Preference, Question
from rlaif.report.costs import find_judging_costs
from rlaif.run.finished import read_stage
from rlaif.run.stages import JUDGEMENTS

SMALL = [
    "constitution=courteous_and_brief", "prompts.num_prompts=6", "sampling.num_samples=2", "sampling.num_pairs=1",
    "prompts.test_fraction=0.2",
]  # fmt: skip
LONG, SHORT, PICKY = (f"panel_judges:{name}" for name in ("prefer_long", "prefer_short", "refuse_the_odd"))


def scripted(first: str, *others: str, weight: float = 1.0) -> list[str]:
    """`weight`: of the first judge; the others weigh one each."""
    panel = json.dumps([{"model": {"engine": "scripted", "path": path}} for path in others])
    return [
        "judge.model.engine=scripted", f"judge.model.path={first}", f"judge.panel={panel}", f"judge.weight={weight}",
    ]  # fmt: skip


def _panel(**more: object) -> str:
    return f"judge.panel={json.dumps([{'model': {'engine': 'scripted', 'path': SHORT}, **more}])}"


def generate(runs_dir: Path, name: str, *overrides: str, resume: bool = False) -> None:
    config = load_config(overrides=[*SMALL, *overrides])
    with open_work(config, run_name=name, runs_dir=runs_dir, resume=resume) as work:
        pipeline.generate_preferences(work)


def read(runs_dir: Path, name: str) -> tuple[list[Preference], list[Comparison]]:
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        assert verify(ledger, heads=[]).ok
        return ledger.used(name, 0, "4_preferences", Preference), ledger.used(name, 0, "3_judgements", Comparison)


def test_each_judge_answers_all_questions_and_a_pair_has_the_weighted_label_of_all(tmp_path: Path) -> None:
    generate(tmp_path, "r", *scripted(LONG, SHORT, weight=3.0))
    preferences, comparisons = read(tmp_path, "r")
    judges = list(dict.fromkeys(c.judge_id for c in comparisons))
    assert Counter(c.judge_id for c in comparisons) == dict.fromkeys(judges, len(comparisons) // 2)
    assert len(judges) == 2
    by_id = {c.id: c for c in comparisons}
    assert preferences
    for preference in preferences:
        logits = [by_id[key].logit for key in preference.evidence_ids]
        assert [by_id[key].judge_id for key in preference.evidence_ids] == [judges[0]] * 2 + [judges[1]] * 2
        # Courteous and brief weigh alike; the first judge counts three times the second.
        expected = (3 * (logits[0] + logits[1]) / 2 + (logits[2] + logits[3]) / 2) / 4
        assert preference.label == pytest.approx(1 / (1 + math.exp(-expected)))
    with Ledger.open(tmp_path / "ledger.sqlite", read_only=True) as ledger:
        panel = ledger.get(Panel, preferences[0].judge_id or "")
    assert panel is not None
    assert panel.weights == {judges[0]: 3.0, judges[1]: 1.0}
    stage = tmp_path / "r" / "round_00" / "3_judgements"
    assert (stage / "questions_plan.json").is_file()
    assert (stage / "judge_2" / "questions_plan.json").is_file()
    rows = [row for path in (tmp_path / "r").rglob("*.parquet") if "dataset" in str(path)
            for row in pq.read_table(path).to_pylist()]  # fmt: skip
    assert {row["judge"] for row in rows} == {f"{LONG} + {SHORT}"}


def test_one_judges_records_are_those_of_a_run_with_that_judge_alone(tmp_path: Path) -> None:
    generate(tmp_path, "both", *scripted(LONG, SHORT))
    generate(tmp_path, "alone", *scripted(SHORT))
    both, alone = read(tmp_path, "both")[1], read(tmp_path, "alone")[1]
    assert [c.id for c in alone] == [c.id for c in both if c.judge_id == alone[0].judge_id]


def test_pairs_that_a_judge_refused_are_dropped_unless_one_judge_is_enough(tmp_path: Path) -> None:
    many = ["prompts.num_prompts=16"]
    generate(tmp_path, "all", *scripted(LONG, PICKY), *many)
    generate(tmp_path, "one", *scripted(LONG, PICKY), *many, "preferences.min_judges=1")
    strict, lenient = (read_stage(tmp_path / name / "round_00" / "4_preferences") for name in ("all", "one"))
    assert strict is not None
    assert lenient is not None
    with Ledger.open(tmp_path / "ledger.sqlite", read_only=True) as ledger:
        failures = ledger.used("all", 0, "3_judgements", FailedJudgement)
        questions = ledger.find(Question, [failure.question_id for failure in failures])
    refused = {question.prompt_id for question in questions.values()}
    assert 0 < len(refused) < strict.tally.num_in
    assert strict.tally.dropped == {"too_few_judges": len(refused)}
    assert lenient.tally.dropped == {}


def test_a_cap_holds_for_all_judges_together_and_a_resumed_run_asks_only_the_rest(tmp_path: Path) -> None:
    generate(tmp_path, "whole", *scripted(LONG, SHORT))
    num_questions = len(read(tmp_path, "whole")[1]) * 2
    elsewhere = tmp_path / "elsewhere"  # another ledger, so that nothing is known
    elsewhere.mkdir()
    few = ["judge.batch_tokens=1"]  # a question a batch
    with pytest.raises(StageError, match=f"max_calls of {num_questions - 3} leaves no room"):
        generate(elsewhere, "r", *scripted(LONG, SHORT), *few, f"judge.max_calls={num_questions - 3}")
    with Ledger.open(elsewhere / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.rows("SELECT count(*) FROM judgements") == [(num_questions - 3,)]
    generate(elsewhere, "r", *scripted(LONG, SHORT), *few, f"judge.max_calls={num_questions}", resume=True)
    assert [p.id for p in read(elsewhere, "r")[0]] == [p.id for p in read(tmp_path, "whole")[0]]


def test_a_run_is_not_resumed_with_another_panel(tmp_path: Path) -> None:
    generate(tmp_path, "r", *scripted(LONG, SHORT))
    with pytest.raises(RunFolderError, match=r"judge\.panel"):
        generate(tmp_path, "r", *scripted(LONG, PICKY), resume=True)
    with pytest.raises(RunFolderError, match=r"judge\.panel\.0\.weight"):
        generate(tmp_path, "r", *scripted(LONG, SHORT)[:-1], _panel(weight=2.0), resume=True)
    # How fast a server is asked, and at which price, is no part of what was asked.
    generate(tmp_path, "r", *scripted(LONG, SHORT), _panel(endpoint={"concurrency": 3, "prompt_price": 1}), resume=True)


def test_a_model_that_is_named_twice_in_other_words_is_found_out_before_it_is_asked(tmp_path: Path) -> None:
    from rlaif.errors import ModelError
    from rlaif.frontdesk import JUDGE_DIR

    panel = json.dumps([{"model": {"path": str(JUDGE_DIR)}}])
    with pytest.raises(ModelError, match="judge 2 of the panel is the same model as an earlier one"):
        generate(tmp_path, "r", f"judge.panel={panel}")


def test_a_local_model_a_function_and_a_server_judge_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = json.dumps([
        {"model": {"engine": "scripted", "path": SHORT}},
        {"model": {"engine": "openai", "path": "m1"}, "template": "pair", "weight": 0.5},
        {"model": {"engine": "openai", "path": "m2"}, "template": "pair"},
    ])  # fmt: skip
    overrides = [f"judge.panel={panel}", "judge.endpoint.max_retries=1"]
    with running(ChatServer()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with pytest.raises(StageError, match="max_calls of 60 leaves no room"):
            generate(tmp_path, "r", *overrides, "judge.max_calls=60")
        generate(tmp_path, "r", *overrides, "judge.max_calls=1000", resume=True)
        asked = Counter(body["model"] for body in server.bodies)
    preferences, comparisons = read(tmp_path, "r")
    assert asked["m1"] == asked["m2"] == len(comparisons) // 4 * 2
    assert all(len(preference.evidence_ids) == 8 for preference in preferences), "four judges, two principles"
    with open_work(load_config(overrides=[*SMALL, *overrides]), run_name="r", runs_dir=tmp_path, resume=True) as work:
        judged = read_judged(work.round, work.book, work.bench)
        costs = list(find_judging_costs(judged, work.bench.judges, folder=work.round.folder(JUDGEMENTS)))
        assert work.bench.budget.spent.calls == len(comparisons) * 2
    names = ["judging: frontdesk", f"judging: {SHORT}", "judging: m1", "judging: m2"]
    assert [(cost.name, cost.calls) for cost in costs] == [(name, len(comparisons) // 4 * 2) for name in names]


def test_people_calibrate_what_the_judges_say_together(tmp_path: Path) -> None:
    many = ["prompts.num_prompts=30"]
    generate(tmp_path, "first", *scripted(LONG, SHORT, weight=3.0), *many)
    preferences, comparisons = read(tmp_path, "first")
    labels = tmp_path / "labels.jsonl"
    # People choose as the judges do together, but in every fifth pair.
    rows = [
        {
            "prompt_id": preference.prompt_id, "first_id": preference.sample_ids[0],
            "second_id": preference.sample_ids[1], "annotator": "ann", "principle": "overall",
            "choice": "first" if (preference.label > 0.5) != (number % 5 == 0) else "second",
        }
        for number, preference in enumerate(preferences)
    ]  # fmt: skip
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cards = {}
    for name, judges in {
        "same": scripted(LONG, SHORT, weight=3.0), "other weight": scripted(LONG, SHORT, weight=4.0),
        "other judge": scripted(LONG, PICKY, weight=3.0), "alone": scripted(LONG),
    }.items():  # fmt: skip
        run = name.replace(" ", "-")
        generate(tmp_path, run, *judges, *many, f"human.path={json.dumps(str(labels))}", "preferences.min_judges=1")
        with Ledger.open(tmp_path / "ledger.sqlite", read_only=True) as ledger:
            (cards[name],) = ledger.used(run, 0, "4_preferences", CalibrationCard)
    assert cards["same"].judge_id == preferences[0].judge_id
    assert cards["same"].before.n == len(rows)
    wrong = sum(number % 5 == 0 for number in range(len(rows)))
    assert cards["same"].before.share.mean == pytest.approx(1 - wrong / len(rows)), "of the panel, not of a judge"
    assert len({card.judge_id for card in cards.values()}) == 4, "another judge or weight: another calibration"
    assert cards["alone"].judge_id == comparisons[0].judge_id


def test_an_edited_principle_is_asked_of_every_judge_and_their_common_label_is_compared(tmp_path: Path) -> None:
    judges = [f"panel_judges:{name}" for name in ("by_principle", "prefer_short")]
    (tmp_path / "old.yaml").write_text("name: old\nprinciples: [{id: kind, text: Be kind.}]")
    (tmp_path / "new.yaml").write_text("name: new\nprinciples: [{id: brief, text: Be brief.}]")
    generate(tmp_path, "r", *scripted(*judges), f"constitution={tmp_path / 'old.yaml'}", "judge.template=pair")
    num_pairs = len(read(tmp_path, "r")[0])
    result = diff_constitutions(None, str(tmp_path / "new.yaml"), run="r", runs_dir=tmp_path).result
    assert result is not None
    assert result.num_asked == 2 * 2 * num_pairs, "of both judges, in both orders"
    assert result.judge == " + ".join(judges)
    assert (result.preferences.num_pairs, result.preferences.num_failed) == (num_pairs, 0)
    # Kind is the longer reply by .01 a letter and brief the shorter by .03; the other judge is for the short one by .05
    # whatever is asked. Together the short one wins both times, and by one judge alone all would flip.
    assert result.preferences.flips == ()
    again = diff_constitutions(None, str(tmp_path / "new.yaml"), run="r", runs_dir=tmp_path).result
    assert again is not None
    assert again.num_asked == 0
    alone = scripted(judges[0])
    generate(tmp_path, "alone", *alone, f"constitution={tmp_path / 'old.yaml'}", "judge.template=pair")
    flipped = diff_constitutions(None, str(tmp_path / "new.yaml"), run="alone", runs_dir=tmp_path).result
    assert flipped is not None
    assert len(flipped.preferences.flips) > num_pairs / 2


def test_a_dry_run_counts_and_names_every_judge() -> None:
    config = load_config(overrides=[*SMALL, *scripted(LONG, SHORT), "judge.max_calls=47"])
    lines = list(describe_estimate(estimate_run(config)))
    assert sum(line.startswith(f"judge {LONG}: at most 24 questions") for line in lines) == 1
    assert sum(line.startswith(f"judge {SHORT}: at most 24 questions") for line in lines) == 1
    assert "2 judges together: at most 48 questions" in lines
    assert "judge.max_calls of 47 may stop the run before it is done" in lines


def test_constitution_check_probes_every_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("name: c\nprinciples: [{id: brief, text: The better reply is brief.}]\n")
    first, *others = ({"engine": "scripted", "path": path} for path in (SHORT, LONG))
    panel = [{"model": model} for model in others]
    (tmp_path / "rlaif.yaml").write_text(json.dumps({"judge": {"model": first, "template": "pair", "panel": panel}}))
    rows = [
        {"prompt": f"Is shop {n} open?", "first": "Yes.", "second": "Yes, it is open, dear visitor, and it has been "
         "since nine o'clock this very morning.", "expected": {"brief": "first"}}
        for n in range(10)
    ]  # fmt: skip
    (tmp_path / "probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = CliRunner().invoke(app, ["constitution", "check", "c.yaml", "--probes", "probes.jsonl"])
    assert shown.exit_code != 0, "the other one prefers the long reply"
    assert f"ok: c, for the judge {SHORT}" in shown.stdout
    assert f"judge {LONG}" in shown.stdout
    assert f"ok: c, for the judge {LONG}" not in shown.stdout
    assert "brief" in str(shown.exception)
