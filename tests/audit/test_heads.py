"""Heads in cards and reports are compared with the chain, and a file of them that was changed is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_world import keep_world, make_judgement, make_world

from rlaif.audit.ledger_file import VerifiedLedger, verify_file
from rlaif.errors import InputError
from rlaif.ledger.sign_offs import StatedHead, state_head
from rlaif.ledger.store import Ledger
from rlaif.policy.card import render_policy_card
from rlaif.records import PolicyCard, Tally
from rlaif.run.finished import finish_stage
from rlaif.run.folder import create_run, write_manifest
from rlaif.run.stages import EVALUATION, POLICY, PREFERENCES

CARD = "round_00/6_policy/model/README.md"
DATA_CARD = "round_00/4_preferences/README.md"
REPORT = "round_00/7_evaluation/report.json"
TALLY = Tally(num_in=1, dropped={})


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """A run that printed one head in its policy's card, one in its report and one in its manifest."""
    runs_dir = tmp_path / "runs"
    config = {"config": {"ledger": {"path": None}}, "inputs": {}}
    run = create_run(runs_dir, "r", resume=False, config=config)
    with Ledger.open(runs_dir / "ledger.sqlite") as ledger:
        keep_world(ledger, make_world())
        write(run.path / CARD, make_card(state_head(ledger)))
        write(run.path / DATA_CARD, "# Preferences\n")
        ledger.append([make_judgement("later")])
        provenance = {"ledger_seq": ledger.head().seq, "ledger_head": ledger.head().hex}
        write(run.path / REPORT, json.dumps({"provenance": provenance}))
        for stage in (PREFERENCES, POLICY, EVALUATION):
            finish_stage(run.stage_dir(0, stage), tally=TALLY, unit="x")
        ledger.append([make_judgement("last")])
        write_manifest(run, stated=state_head(ledger), version="0")
    return runs_dir


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def make_card(head: StatedHead) -> str:
    card = PolicyCard(model_id="p", reference_model_id="s", reward_model_id="rm", config={}, metrics={"kl": 0.5})
    return render_policy_card(card, learnt_from="a", note="", constitution="c", ledger_head=head)


def verified(runs_dir: Path, *given: str) -> VerifiedLedger:
    return verify_file(runs_dir, run=None, ledger=None, given=given)


def problems(runs_dir: Path, *given: str) -> str:
    return "\n".join(map(str, verified(runs_dir, *given).problems))


def head_of_card(runs_dir: Path) -> str:
    return (runs_dir / "r" / CARD).read_text().partition("head was `")[2][:64]


def test_heads_in_manifests_cards_and_reports_are_compared(runs_dir: Path) -> None:
    found = verified(runs_dir)
    assert found.problems == []
    assert found.num_heads == {"manifests": 1, "model cards": 1, "reports": 1}


def test_a_head_that_was_given_is_found_at_its_row_with_what_it_covers(runs_dir: Path) -> None:
    head, num = head_of_card(runs_dir), len(make_world().judgements)
    for text in (head, head.upper(), f" `{head}` "):
        found = verified(runs_dir, text, head)
        assert found.problems == []
        assert list(found.given) == [head]
        assert found.given[head].num_judgements == num
        assert found.given[head].seq == found.verification.head.seq - 2


def test_a_head_of_another_ledger_is_in_no_row(runs_dir: Path) -> None:
    assert problems(runs_dir, "1" * 64) == f"the head {'1' * 64} of --head is in no row of the chain"


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "a" * 63, "a" * 65, "\x1b[2J", "0x" + "a" * 62])
def test_what_is_not_a_whole_head_is_refused(runs_dir: Path, text: str) -> None:
    with pytest.raises(InputError, match="all 64 digits"):
        verified(runs_dir, text)


def test_cards_of_older_versions_print_heads_without_their_row(runs_dir: Path) -> None:
    card = runs_dir / "r" / CARD
    head = head_of_card(runs_dir)
    card.write_text(
        f"The ledger's head was `{head}`: `rlaif audit verify` finds\n| head of the ledger's chain | `{head}` |\n"
    )
    (card.parents[1] / "stage.json").unlink()
    finish_stage(card.parents[1], tally=TALLY, unit="x")
    assert problems(runs_dir) == ""
    assert verified(runs_dir).num_heads["model cards"] == 2
    card.write_text(card.read_text().replace(head, "2" * 64))
    assert problems(runs_dir).count(f"the head {'2' * 64} of {card} is in no row") == 1


def swap_digits(text: str) -> str:
    return text.translate(str.maketrans("0123456789", "1032547698"))


CHANGES: list[tuple[str, Callable[[str], str], str]] = [
    (CARD, swap_digits, "was changed after the run wrote it"),
    (CARD, lambda text: text + "more\n", "was changed after the run wrote it"),
    (DATA_CARD, lambda _: "", "was changed after the run wrote it"),
    (REPORT, lambda text: text[:20], "is damaged: the ledger's head cannot be read"),
    (REPORT, lambda _: "null", "is damaged: the ledger's head cannot be read"),
    (REPORT, lambda text: text.replace('"ledger_seq": ', '"ledger_seq": 1'), "a head was printed for this row, and"),
    ("manifest.json", lambda _: "", "is damaged: the ledger's heads cannot be read"),
    ("manifest.json", lambda _: '{"ledger_heads": [{"seq": null}]}', "is damaged: the ledger's heads cannot be read"),
    (
        "manifest.json",
        lambda text: text.replace('"head": "', '"head": "0'),
        "its head is not the one that was printed in",
    ),
    ("round_00/6_policy/stage.json", lambda _: "[]", "is damaged: its cards and reports cannot be compared"),
]


@pytest.mark.parametrize(("name", "edit", "said"), CHANGES)
def test_a_file_that_was_changed_is_named(runs_dir: Path, name: str, edit: Callable[[str], str], said: str) -> None:
    path = runs_dir / "r" / name
    path.write_text(edit(path.read_text()))
    found = problems(runs_dir)
    assert said in found
    assert str(path) in found


@pytest.mark.parametrize("name", [CARD, DATA_CARD, REPORT])
@pytest.mark.parametrize("with_stage", [False, True])
def test_a_file_that_is_gone_is_named(runs_dir: Path, name: str, *, with_stage: bool) -> None:
    path = runs_dir / "r" / name
    path.unlink()
    if with_stage:
        (runs_dir / "r" / "/".join(name.split("/")[:2]) / "stage.json").unlink()
    assert problems(runs_dir) == f"{path} is missing"


def test_a_damaged_neighbour_is_named_and_the_other_runs_are_read(runs_dir: Path) -> None:
    other = create_run(runs_dir, "other", resume=False, config={"config": {"ledger": {"path": None}}, "inputs": {}})
    write(other.path / "manifest.json", "{")
    found = verified(runs_dir)
    assert [str(problem) for problem in found.problems] == [
        f"{other.path / 'manifest.json'} is damaged: the ledger's heads cannot be read from it"
    ]
    assert found.num_heads.total() == 3
