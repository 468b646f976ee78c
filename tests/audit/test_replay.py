"""Stored questions asked again: of the same judge, of another one, and what is left out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from chat_server import ChatServer, running
from edit_runs import make_judged_run
from ledger_world import make_world
from made_once import make_once

from rlaif.audit.redaction import plan_redaction, redact
from rlaif.audit.replay import Replay, ReplayCost, ask_again
from rlaif.audit.replay_draw import Draw, draw_items, find_items
from rlaif.audit.replay_judge import OwnJudges, find_other_judge
from rlaif.config.judge import JudgeConfig, JudgeModelConfig
from rlaif.constitution.render import load_template
from rlaif.errors import InputError
from rlaif.ledger.queries import list_comparisons
from rlaif.ledger.store import Ledger
from rlaif.records import Judgement, Sample


@pytest.fixture(scope="module")
def scripted_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "replayed-run", make_judged_run)


@pytest.fixture
def ledger(scripted_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(scripted_run, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    with Ledger.open("runs/ledger.sqlite") as ledger:
        yield ledger


def scripted(function: str) -> JudgeConfig:
    return JudgeConfig(model=JudgeModelConfig(engine="scripted", path=f"edit_judges:{function}"))


def ask(ledger: Ledger, draw: Draw, judge: JudgeConfig | None = None, *, dry_run: bool = False) -> Replay:
    own = OwnJudges(ledger, Path("runs"))
    said: list[ReplayCost] = []
    found = ask_again(
        draw, ledger=ledger, announce=said.append, dry_run=dry_run,
        find_judge=own.find if judge is None else lambda judgement, question: judge,
    )  # fmt: skip
    assert found.costs == tuple(said)
    return found


def first_comparison(ledger: Ledger, run: str = "001") -> str:
    return list_comparisons(ledger, run=run, limit=1).lines[0].comparison.id


def test_the_judge_that_answered_gives_the_same_answers_to_both_orders_and_nothing_is_stored(ledger: Ledger) -> None:
    head = ledger.head()
    found = ask(ledger, find_items(ledger, first_comparison(ledger)))
    assert found.judges == ("edit_judges:by_text",)
    assert [(one.is_same, one.move) for one in found.replayed] == [(True, 0.0), (True, 0.0)]
    assert (found.is_exact, found.fingerprint_changed, found.num_drawn) == (True, (), 0)
    assert ledger.head() == head


def test_each_answer_is_asked_of_the_judge_of_its_own_run(ledger: Ledger) -> None:
    draw = draw_items(ledger, num=60, seed=0)
    found = ask(ledger, draw)
    assert set(found.judges) == {"edit_judges:by_text", "edit_judges:by_end"}
    assert found.same is not None
    assert found.same.mean == 1
    assert len(found.replayed) == 60


def test_another_judge_is_compared_verdict_by_verdict(ledger: Ledger) -> None:
    draw = draw_items(ledger, num=100, seed=0, run="001")
    found = ask(ledger, draw, scripted("by_end"))
    stored = {one.judgement_id: one.now.outcome for one in found.replayed}
    same = sum(one.then.outcome == stored[one.judgement_id] for one in found.replayed)
    assert found.same is not None
    assert 0 < same < 100
    assert found.same.mean == pytest.approx(same / 100)
    assert found.same.low < found.same.mean < found.same.high
    assert "weights" in found.fingerprint_changed


def test_a_sample_is_seeded_and_never_holds_an_answer_twice(ledger: Ledger) -> None:
    one, again, other = (draw_items(ledger, num=20, seed=seed, run="001") for seed in (1, 1, 2))
    ids = [[item.judgement.id for item in draw.items] for draw in (one, again, other)]
    assert ids[0] == ids[1] != ids[2]
    assert len(set(ids[0])) == 20


def test_a_dry_run_counts_questions_and_tokens_and_asks_nobody(ledger: Ledger) -> None:
    found = ask(ledger, draw_items(ledger, num=5, seed=0, run="001"), dry_run=True)
    (cost,) = found.costs
    assert (cost.num_questions, cost.is_estimated, cost.cost_at_most) == (5, False, None)
    assert cost.prompt_tokens > 0
    assert (found.replayed, found.same) == ((), None)


def test_a_failed_answer_of_now_is_counted_and_is_no_other_verdict(ledger: Ledger) -> None:
    items = draw_items(ledger, num=10, seed=0, run="001")
    muted = [item._replace(chat=_with_text(item.chat, "Be mute.")) for item in items.items]
    found = ask(ledger, items._replace(items=muted), scripted("by_text"))
    failed = [one for one in found.replayed if one.now.failure is not None]
    assert failed
    assert {one.is_same for one in failed} == {None}
    assert found.failed == {"refused": len(failed)}


def _with_text(chat, text):  # type: ignore[no-untyped-def]
    segments = tuple(part._replace(text=part.text.replace("Be brief.", text)) for part in chat[-1].segments)
    return (*chat[:-1], chat[-1]._replace(segments=segments))


def test_a_prompt_that_cannot_be_proven_is_never_sent(ledger: Ledger) -> None:
    comparison = list_comparisons(ledger, run="001", limit=1).lines[0].comparison
    sample = comparison.sample_ids[0]
    assert ledger.get(Sample, sample) is not None
    redact(ledger, plan_redaction(ledger, [sample], runs_dir=None), reason="private", author="ann")
    with pytest.raises(InputError, match="cannot be asked again: redacted"):
        find_items(ledger, comparison.id)
    draw = draw_items(ledger, num=200, seed=0, run="001")
    assert draw.left_out == {"redacted": 2}
    assert len(draw.items) == 98


def test_imported_verdicts_and_filters_that_nothing_passes_are_refused(tmp_path: Path) -> None:
    world = make_world(0)
    question = world.questions[0].changed(rendered_digest=None, template_digest=None)
    judgement = Judgement(question_id=question.id, origin="imported", verdict="first", raw_reply="first")
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.append([world.prompt, *world.samples, question, judgement])
        with pytest.raises(InputError, match="no stored answer can be asked again: imported 1"):
            draw_items(ledger, num=1, seed=0)
        with pytest.raises(InputError, match="as none passes the filters"):
            draw_items(ledger, num=1, seed=0, run="other")


def test_another_template_of_the_same_kind_asks_with_another_prompt(ledger: Ledger) -> None:
    draw = find_items(ledger, first_comparison(ledger), template=load_template("pair_tie"))
    assert not draw.is_exact
    assert ask(ledger, draw, dry_run=True).costs[0].num_questions == 2
    with pytest.raises(InputError, match="this one is of `kind: score`"):
        find_items(ledger, first_comparison(ledger), template=load_template("score"))


def test_a_judge_whose_runs_are_not_there_must_be_named(ledger: Ledger, tmp_path: Path) -> None:
    own = OwnJudges(ledger, tmp_path / "nothing")
    item = find_items(ledger, first_comparison(ledger)).items[0]
    with pytest.raises(InputError, match="or a judge by --judge"):
        own.find(item.judgement, item.question)


def test_a_judge_behind_a_server_is_named_with_its_address_and_its_tokens_are_estimated(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(ChatServer(lambda asked, prompt, tries: "good")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
        judge = find_other_judge(f"m@{server.url}", environ=os.environ)
        found = ask(ledger, find_items(ledger, first_comparison(ledger)), judge)
    assert found.judges == ("m",)
    assert found.costs[0].is_estimated
    assert [one.now.failure for one in found.replayed] == [None, None]


def test_another_judge_is_named_by_its_folder_or_by_a_model_at_an_address() -> None:
    environ: dict[str, str] = {"OPENAI_BASE_URL": "http://elsewhere/v1"}
    assert find_other_judge("frontdesk", environ=environ).model.engine == "transformers"
    assert environ["OPENAI_BASE_URL"] == "http://elsewhere/v1"
    with pytest.raises(InputError, match="give MODEL@http://x/v1"):
        find_other_judge("http://x/v1", environ=environ)
