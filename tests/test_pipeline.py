"""One small round on the front desk, and what must hold of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlaif import pipeline
from rlaif.config.load import load_config
from rlaif.config.run import RunConfig
from rlaif.errors import ModelError, RunFolderError, RunFolderInUse
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.loop.open_run import open_work
from rlaif.models.vllm import process as vllm_process
from rlaif.records import Comparison, Demonstration, Judgement, Preference, Question, Sample
from rlaif.run.finished import read_stage
from rlaif.run.stages import JUDGEMENTS, REWARD_MODEL, SAMPLES, SFT, STAGES

SMALL = [
    "prompts.num_prompts=24", "sampling.num_samples=3", "reward_model.num_epochs=1", "ppo.num_steps=2",
    "ppo.num_prompts_per_step=4", "ppo.num_reference_samples=16", "evaluation.num_prompts=8",
]  # fmt: skip


def run_loop(config: RunConfig, runs_dir: Path, name: str, *, resume: bool = False) -> None:
    with open_work(config, run_name=name, runs_dir=runs_dir, resume=resume) as work:
        pipeline.run_round(work, labels=None)


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    run_loop(load_config(overrides=SMALL), folder, "small")
    return folder


@pytest.fixture
def ledger(runs_dir: Path) -> Iterator[Ledger]:
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as opened:
        yield opened


def test_every_stage_says_what_came_in_and_what_it_kept(runs_dir: Path) -> None:
    stages = {stage.folder: read_stage(runs_dir / "small" / "round_00" / stage.folder) for stage in STAGES}
    tallies = {name: stage.tally for name, stage in stages.items() if stage is not None}
    assert list(tallies) == [stage.folder for stage in STAGES if stage != SFT]
    assert tallies["1_prompts"].num_in == 24
    assert tallies["2_samples"].num_in == 24 * 3
    asked = tallies["3_judgements"].num_in
    assert tallies["4_preferences"].num_in * 2 * 2 == asked, "two principles, two orders"


def test_every_question_has_one_answer_and_every_pair_both_orders(ledger: Ledger) -> None:
    questions = ledger.used("small", 0, "3_judgements", Question)
    judgements = ledger.used("small", 0, "3_judgements", Judgement)
    comparisons = ledger.used("small", 0, "3_judgements", Comparison)
    assert len({j.question_id for j in judgements}) == len(judgements)
    assert {j.question_id for j in judgements} <= {q.id for q in questions}
    assert all(c.debiased and len(c.judgement_ids) == 2 for c in comparisons)
    assert all(j.reason for j in judgements), "the reason comes before the verdict"


def test_lineage_walks_from_a_preference_to_the_judges_words(ledger: Ledger) -> None:
    preference = ledger.used("small", 0, "4_preferences", Preference)[0]
    comparisons = ledger.find(Comparison, preference.evidence_ids)
    assert set(comparisons) == set(preference.evidence_ids)
    judgements = ledger.find(Judgement, [i for c in comparisons.values() for i in c.judgement_ids])
    questions = ledger.find(Question, [j.question_id for j in judgements.values()])
    shown = {sample_id for q in questions.values() for sample_id in q.sample_ids}
    assert shown == set(preference.sample_ids)
    assert set(ledger.find(Sample, shown)) == shown


def test_the_chain_verifies_against_the_heads_in_the_manifest(runs_dir: Path, ledger: Ledger) -> None:
    manifest = json.loads((runs_dir / "small" / "manifest.json").read_text())
    heads = [(head["seq"], head["head"]) for head in manifest["ledger_heads"]]
    assert heads
    assert verify(ledger, heads=heads).ok


def test_the_exported_preferences_load_with_datasets(runs_dir: Path) -> None:
    import datasets

    folder = runs_dir / "small" / "round_00" / "4_preferences" / "dataset"
    loaded = datasets.load_dataset(str(folder))
    rows = loaded["train"]
    assert rows[0]["chosen"][0]["role"] == "assistant"
    assert "margin" not in rows.column_names
    assert all(0.5 <= label <= 1 for label in rows["label"])


def test_a_second_run_asks_the_judge_nothing_again(runs_dir: Path) -> None:
    def count() -> int:
        with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as opened:
            return int(opened.rows("SELECT count(*) FROM judgements")[0][0])

    before = count()
    with open_work(load_config(overrides=SMALL), run_name="again", runs_dir=runs_dir, resume=False) as work:
        pipeline.generate_preferences(work)
    assert count() == before
    datasets = [runs_dir / run / "round_00" / "4_preferences" / "dataset" / "data" for run in ("small", "again")]
    first, second = ([hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(d.iterdir())] for d in datasets)
    assert first == second


def test_editing_one_principle_asks_only_its_questions(runs_dir: Path, tmp_path: Path) -> None:
    source = (Path(__file__).parents[1] / "constitutions" / "frontdesk" / "courteous_and_brief.yaml").read_text()
    edited = tmp_path / "edited.yaml"
    assert "polite" in source
    edited.write_text(source.replace("polite", "courteous"))
    config = load_config(overrides=[*SMALL, f"constitution={edited}"])
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as opened:
        before = opened.rows("SELECT count(*) FROM judgements")[0][0]
    with open_work(config, run_name="edited", runs_dir=runs_dir, resume=False) as work:
        pipeline.generate_preferences(work)
        asked = len(work.book.used(JUDGEMENTS, Question, round=work.round.number))
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as opened:
        after = opened.rows("SELECT count(*) FROM judgements")[0][0]
    assert after - before == asked // 2


def test_a_used_run_folder_is_refused_unless_resumed(runs_dir: Path) -> None:
    config = load_config(overrides=SMALL)
    with pytest.raises(RunFolderError, match="already used"):
        run_loop(config, runs_dir, "small")
    run_loop(config, runs_dir, "small", resume=True)


def test_a_resumed_run_with_another_configuration_names_the_changed_keys(runs_dir: Path) -> None:
    config = load_config(overrides=[*SMALL, "sampling.temperature=0.5"])
    with pytest.raises(RunFolderError, match=r"sampling\.temperature"):
        run_loop(config, runs_dir, "small", resume=True)


def test_a_second_process_is_told_that_the_run_is_in_use(runs_dir: Path) -> None:
    config = load_config(overrides=SMALL)
    with (
        open_work(config, run_name="small", runs_dir=runs_dir, resume=True),
        pytest.raises(RunFolderInUse, match="pid"),
        open_work(config, run_name="small", runs_dir=runs_dir, resume=True),
    ):
        pass


def test_training_goes_on_from_demonstrations_where_there_are_any(tmp_path: Path) -> None:
    rows = [{"prompt": f"When does museum {n} open?", "response": "Good morning! It opens at nine."} for n in range(16)]
    path = tmp_path / "demonstrations.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = load_config(overrides=[*SMALL, f"sft.demonstrations={path}", "sft.batch_size=8"])
    with open_work(config, run_name="sft", runs_dir=tmp_path / "runs", resume=False) as work:
        before = work.shelf.policy("start").fingerprint
        pipeline.train(work, stage="sft")
        pipeline.generate_preferences(work)
        sampled = work.book.used(SAMPLES, Sample, round=work.round.number)
        assert {s.policy_id for s in sampled} == {work.shelf.policy("start").fingerprint.id} != {before.id}
        assert work.book.used(SFT, Demonstration, round=work.round.number)[0].response == rows[0]["response"]


def test_training_goes_on_though_the_principle_file_has_moved_on(tmp_path: Path) -> None:
    source = (Path(__file__).parents[1] / "constitutions" / "frontdesk" / "courteous_and_brief.yaml").read_text()
    mine = tmp_path / "mine.yaml"
    mine.write_text(source)
    config = load_config(overrides=[*SMALL, f"constitution={mine}", "prompts.num_prompts=8"])
    with open_work(config, run_name="a", runs_dir=tmp_path / "runs", resume=False) as work:
        pipeline.generate_preferences(work)
        judged_by = work.round.constitution.id
    mine.unlink()
    with open_work(config, run_name="a", runs_dir=tmp_path / "runs", resume=False, stages=(REWARD_MODEL,)) as work:
        pipeline.train(work, stage="reward-model")
        assert work.round.constitution.id == judged_by


def test_a_rollout_engine_that_is_not_installed_is_told_before_anything_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_process, "installed_version", lambda: None)
    with pytest.raises(ModelError, match="needs vLLM, which is not installed"):
        run_loop(load_config(overrides=[*SMALL, "ppo.rollout.engine=vllm"]), tmp_path, "small")
    assert not list(tmp_path.glob("small/round_*"))


def test_the_policys_evaluations_during_training_are_logged_and_shown(runs_dir: Path) -> None:
    run = runs_dir / "small"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evaluated = [row for row in rows if row["stage"] == "policy_evaluation"]
    assert [row["step"] for row in evaluated] == [0, 2]
    assert {"eval/scores", "eval/rlhf_reward", "eval/kl", "eval/measures/courteous"} <= evaluated[0].keys()
    report = json.loads((run / "round_00" / "7_evaluation" / "report.json").read_text())
    assert [point["step"] for point in report["policy_evaluations"]] == [0, 2]
    assert report["kept_steps"] == 2
    assert [[at["step"] for at in course["responses"]] for course in report["response_courses"]] == [[0, 2]] * 6
    page = (run / "round_00" / "7_evaluation" / "report.html").read_text()
    assert "What it said as training went on" in page
