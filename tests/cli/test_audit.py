"""`rlaif audit`: what a person sees of the ledger, and what is said when it was changed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from click.testing import Result
from ledger_world import World, keep_world, make_world
from typer.testing import CliRunner

from rlaif.cli.audit import audit_app
from rlaif.errors import InputError, LedgerError, RunFolderError
from rlaif.ledger.sign_offs import state_head
from rlaif.ledger.store import Ledger
from rlaif.records import digest_text
from rlaif.run.folder import create_run, write_manifest

WORLDS = [make_world(0, verdicts=("first", "second")), make_world(1, verdicts=("first", "first"))]


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """A run that is over: its ledger, config and manifest."""
    return make_runs(tmp_path / "runs", WORLDS)


def make_runs(runs_dir: Path, worlds: list[World], *, ledger_path: Path | None = None) -> Path:
    config = {"config": {"ledger": {"path": str(ledger_path) if ledger_path else None}}, "inputs": {}}
    run = create_run(runs_dir, "001", resume=False, config=config)
    with Ledger.open(ledger_path or runs_dir / "ledger.sqlite") as ledger:
        for world in worlds:
            keep_world(ledger, world)
        write_manifest(run, stated=state_head(ledger), version="0")
    return runs_dir


def audit(runs_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(audit_app, [*arguments, "--runs-dir", str(runs_dir)], env={"COLUMNS": "100"})


def lines(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.exception
    return [line.split() for line in result.stdout.splitlines()]


def test_list_shows_a_line_per_judgement(runs_dir: Path) -> None:
    head, *rows = lines(audit(runs_dir, "list"))
    assert head[:4] == ["key", "judgement", "principle", "verdict"]
    shown = [(row[1], row[2], row[3]) for row in rows]
    assert shown == [(j.id[:12], "brief", j.verdict) for world in WORLDS for j in world.judgements]


def test_list_filters_by_verdict_principle_and_run(runs_dir: Path) -> None:
    _, row = lines(audit(runs_dir, "list", "--verdict", "second", "--principle", "brief", "--run", "001"))
    assert row[1] == WORLDS[0].judgements[1].id[:12]
    assert lines(audit(runs_dir, "list", "--principle", "brief", "--verdict", "tie")) == [["nothing", "found"]]


@pytest.mark.parametrize("listed", [(), ("--failed",), ("--flipped",)])
def test_list_refuses_a_principle_that_no_decision_is_under_and_names_those_that_there_are(
    runs_dir: Path, listed: tuple[str, ...]
) -> None:
    result = audit(runs_dir, "list", "--principle", "breif", *listed)
    assert isinstance(result.exception, InputError)
    assert 'under a principle "breif"' in str(result.exception)
    assert str(result.exception).endswith('did you mean "brief"? the principles are brief')


def test_list_refuses_a_run_that_is_not_there_and_names_those_that_are(runs_dir: Path) -> None:
    result = audit(runs_dir, "list", "--run", "01")
    assert isinstance(result.exception, RunFolderError)
    assert 'did you mean "001"? the runs are 001' in str(result.exception)
    result = audit(runs_dir, "list", "--run", "01", "--ledger", str(runs_dir / "ledger.sqlite"))
    assert isinstance(result.exception, InputError)
    assert 'no run "01" used' in str(result.exception)


def test_list_flipped_shows_the_pairs_that_the_order_decided(runs_dir: Path) -> None:
    _, row = lines(audit(runs_dir, "list", "--flipped"))
    assert row[1:5] == [WORLDS[1].comparison.id[:12], "brief", "0.750", "+0.50"]


def test_list_failed_shows_the_cause_and_the_raw_reply(runs_dir: Path) -> None:
    _, first, second = lines(audit(runs_dir, "list", "--failed"))
    assert first[1:] == [WORLDS[0].failure.id[:12], "brief", "unparsable", "1", "hm", "0"]
    assert second[-2:] == ["hm", "1"]


def test_list_goes_on_after_a_key(runs_dir: Path) -> None:
    _, *rows, more = lines(audit(runs_dir, "list", "--limit", "3"))
    assert more[:3] == ["more:", "add", "--after"]
    _, last = lines(audit(runs_dir, "list", "--limit", "3", "--after", more[3]))
    assert [row[1] for row in (*rows, last)] == [j.id[:12] for world in WORLDS for j in world.judgements]


def test_options_that_contradict_one_another_are_refused(runs_dir: Path) -> None:
    assert isinstance(audit(runs_dir, "list", "--failed", "--flipped").exception, InputError)


def test_show_rebuilds_the_exact_prompt_of_both_orders_and_proves_it(runs_dir: Path) -> None:
    world = WORLDS[1]
    first, second = (sample.text for sample in world.samples)
    shown = audit(runs_dir, "show", world.comparison.id[:10]).stdout
    assert shown.count("proven: sha256 matches") == 2
    for a, b in ((first, second), (second, first)):
        assert f"Reply A: {a}\nReply B: {b}\nPrinciple: Prefer the shorter reply." in shown
    for said in (
        world.questions[0].id, world.questions[1].id, world.judgements[1].id, world.questions[0].rendered_digest,
        world.template.digest, "first -0.2500, second -1.5000", "0.999800", "flipped the verdict", "./judge",
        world.judgements[0].reason, "unparsable", "run 001, round 0, stage 3_judgements", "short",
    ):  # fmt: skip
        assert said is not None
        assert said in shown


def test_show_opens_a_judgement_a_question_and_a_failure(runs_dir: Path) -> None:
    world = WORLDS[0]
    expected = audit(runs_dir, "show", world.comparison.id).stdout
    for record in (world.judgements[1], world.questions[0], world.failure):
        assert audit(runs_dir, "show", record.id).stdout == expected


def test_text_of_models_and_data_is_neither_markup_nor_control(tmp_path: Path) -> None:
    world = make_world()
    hostile = "[bold]x[/bold][/red] \x1b[2J \u202e end"
    judgement = world.judgements[0].changed(reason=hostile, raw_reply=hostile)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.append([world.questions[0], judgement])
    for result in (audit(tmp_path, "show", judgement.id), audit(tmp_path, "list")):
        assert result.exit_code == 0
        assert "[bold]x[/bold][/red]" in result.stdout
        assert "\x1b" not in result.stdout
        assert "\u202e" not in result.stdout


def test_a_prompt_that_differs_from_what_was_asked_is_not_proven(tmp_path: Path) -> None:
    world = make_world()
    question = world.questions[0].changed(rendered_digest=digest_text("something else"))
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        keep_world(ledger, world)
        ledger.append([question])
    shown = audit(tmp_path, "show", question.id).stdout
    changed, other_order = shown.split("order 2:")
    assert "NOT PROVEN" in changed
    assert "proven: sha256 matches" not in changed
    assert "proven: sha256 matches" in other_order


def test_an_imported_verdict_says_that_its_prompt_is_not_known(tmp_path: Path) -> None:
    world = make_world()
    question = world.questions[0].changed(rendered_digest=None, template_digest=None)
    judgement = world.judgements[0].changed(question_id=question.id, origin="imported", logprobs=(), label_mass=None)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.append([question, judgement])
    shown = audit(tmp_path, "show", question.id).stdout
    assert "not known: the verdict was imported without its prompt" in shown
    assert "(imported)" in shown


def test_a_redacted_response_makes_the_prompt_unprovable_and_says_why(runs_dir: Path) -> None:
    sample = WORLDS[0].samples[0]
    with Ledger.open(runs_dir / "ledger.sqlite") as ledger:
        ledger.redact_text(digest_text(sample.text), reason="private", author="ann", at="")
    shown = audit(runs_dir, "show", WORLDS[0].comparison.id).stdout
    assert shown.count("cannot be proven: a text in it was redacted") == 2
    assert sample.text not in shown
    assert audit(runs_dir, "verify").exit_code == 0


def test_an_unknown_id_is_bad_input(runs_dir: Path) -> None:
    assert isinstance(audit(runs_dir, "show", "0" * 32).exception, InputError)
    assert isinstance(audit(runs_dir, "show", "zz").exception, InputError)


def test_verify_says_that_the_chain_and_the_printed_heads_hold(runs_dir: Path) -> None:
    for arguments in (("verify",), ("verify", "--run", "001")):
        result = audit(runs_dir, *arguments)
        assert result.exit_code == 0
        assert "unbroken" in result.stdout
        assert "1 head printed in manifests" in result.stdout


def change(runs_dir: Path, statement: str) -> None:
    with apsw.Connection(str(runs_dir / "ledger.sqlite")) as file:
        file.execute(statement)


def test_verify_names_the_row_that_was_changed(runs_dir: Path) -> None:
    change(
        runs_dir, """UPDATE judgements SET content = replace(content, '"second"', '"tie"') WHERE verdict = 'second'"""
    )
    result = audit(runs_dir, "verify")
    assert isinstance(result.exception, LedgerError)
    assert result.exception.exit_code == 1
    assert "judgements row" in str(result.exception)
    assert "does not fit" in str(result.exception)


def test_verify_finds_a_cut_tail_by_the_head_in_the_manifest(runs_dir: Path) -> None:
    change(runs_dir, "DELETE FROM uses WHERE seq = (SELECT max(seq) FROM uses)")
    result = audit(runs_dir, "verify")
    assert "a head was printed for this row, and the ledger ends at row" in str(result.exception)


def test_the_ledger_of_a_run_with_its_own_path_is_found(tmp_path: Path) -> None:
    runs_dir = make_runs(tmp_path / "runs", WORLDS[:1], ledger_path=tmp_path / "elsewhere" / "l.sqlite")
    assert len(lines(audit(runs_dir, "list"))) == 3
    assert "1 head printed" in audit(runs_dir, "verify").stdout
    given = audit(tmp_path / "no-runs", "list", "--ledger", str(tmp_path / "elsewhere" / "l.sqlite"))
    assert len(lines(given)) == 3


def test_a_missing_ledger_or_run_is_bad_input(tmp_path: Path, runs_dir: Path) -> None:
    assert isinstance(audit(tmp_path / "nothing", "list").exception, InputError)
    assert isinstance(audit(runs_dir, "list", "--run", "other").exception, RunFolderError)
    assert isinstance(audit(runs_dir, "list", "--run", "../runs").exception, RunFolderError)


def test_the_command_line_prints_one_sentence_and_exits_with_one(runs_dir: Path) -> None:
    change(runs_dir, "DELETE FROM models WHERE seq = (SELECT min(seq) FROM models)")
    command = [sys.executable, "-m", "rlaif", "audit", "verify", "--runs-dir", str(runs_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "is missing before it" in done.stderr


def test_the_config_of_a_run_is_read_where_the_run_keeps_it(runs_dir: Path) -> None:
    assert json.loads((runs_dir / "001" / "config.json").read_text())["config"]["ledger"] == {"path": None}
