"""`rlaif audit pack` and `verify --pack`: a run's record checked by somebody who has nothing else."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from recorded_run import make_recorded_run
from rewritten import Pack
from signers import Signer, needs_ssh_keygen
from spot_checks import rows_of
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import DataError, InputError, LedgerError
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, HumanLabel, Sample

CHECKED = ("chain", "questions", "comparisons", "agreement", "preferences", "training file")


def rlaif(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose preferences people's labels are mixed into, and its pack."""
    folder = tmp_path_factory.mktemp("packed")
    make_recorded_run(folder, pairs=24)
    with contextlib.chdir(folder):
        with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
            pairs = [one.sample_ids for one in ledger.used("001", 0, "3_judgements", Comparison)]
            prompts = ledger.find(Sample, [pair[0] for pair in pairs])
        labels = [
            HumanLabel(annotator="ann", prompt_id=prompts[pair[0]].prompt_id, sample_ids=pair, choice=choice)
            for pair, choice in zip(pairs, ["first", "second", "first"] * 8, strict=True)
        ]
        Path("labels.jsonl").write_text(rows_of(labels))
        options = [f"--{kind}=inputs-001/{file}" for kind, file in FILES.items()]
        assert rlaif("generate-prefs", *options, "--run", "002", "--human-labels", "labels.jsonl").exit_code == 0
        assert rlaif("audit", "pack", "pack", "--run", "002").exit_code == 0
    return folder


FILES = {"samples": "samples.jsonl", "judgements": "verdicts.jsonl", "columns": "columns.yaml"}


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def verify(path: str = "pack", *arguments: str) -> Result:
    return rlaif("audit", "verify", "--pack", path, *arguments)


def said(result: Result) -> dict[str, str]:
    """The outcome of each check, by its name."""
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines() if ":" in line]
    return {rest.split(":")[0]: outcome for outcome, rest in lines if outcome in ("holds", "open", "DIFFERS")}


def test_everything_is_made_again_from_questions_and_answers(folder: Path) -> None:
    shutil.rmtree("runs")
    result = verify()
    assert result.exit_code == 0, result.exception
    found = said(result)
    assert tuple(name for name in found if name != "signatures") == CHECKED
    assert {name for name, outcome in found.items() if outcome == "open"} == {"signatures", "questions"}
    assert "judge and people agree on" in result.stdout


@pytest.mark.heavy
def test_a_pack_is_checked_without_torch_and_without_a_network(folder: Path) -> None:
    script = (
        "import sys, socket\n"
        "for name in ('torch', 'transformers', 'trl', 'peft', 'accelerate', 'datasets'): sys.modules[name] = None\n"
        "def refuse(*a, **k): raise AssertionError('no network')\n"
        "socket.socket.connect = refuse\n"
        "from pathlib import Path\n"
        "from rlaif.audit.pack_check import check_pack\n"
        "found = check_pack(Path('pack'), signatures=(), allowed=None)\n"
        "assert found.first_difference is None, found\n"
        "print(len(found.checks))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > len(CHECKED) - 1


def test_the_same_run_gives_the_same_bytes(folder: Path) -> None:
    assert rlaif("audit", "pack", "again", "--run", "002").exit_code == 0
    for file in sorted(Path("pack").rglob("*")):
        assert file.read_bytes() == (Path("again") / file.relative_to("pack")).read_bytes(), file
    about = json.loads(Path("pack/pack.json").read_text())
    assert about["files"] == {
        file.name: sha256(file.read_bytes()).hexdigest() for file in Path("pack").iterdir() if file.name != "pack.json"
    }


def test_texts_of_another_run_of_the_ledger_are_not_in_the_pack(folder: Path) -> None:
    make_recorded_run(Path(), name="other", pairs=4)
    assert rlaif("audit", "pack", "again", "--run", "002").exit_code == 0
    assert b"of 001?" in gzip.decompress(Path("again/texts.jsonl.gz").read_bytes())
    assert b"of other?" not in gzip.decompress(Path("again/texts.jsonl.gz").read_bytes())
    assert verify("again").exit_code == 0


@pytest.mark.parametrize("name", ["chain.jsonl.gz", "texts.jsonl.gz", "run.json", "README.md"])
def test_a_file_that_was_changed_is_named(folder: Path, name: str) -> None:
    file = Path("pack") / name
    file.write_bytes(file.read_bytes() + b" ")
    assert f"{name} was changed after the pack was written" in str(verify().exception)
    file.unlink()
    assert f"{name} is missing" in str(verify().exception)


def test_a_file_that_was_slipped_in_is_named(folder: Path) -> None:
    Path("pack/more.txt").write_text("x")
    assert "more.txt is not listed in it" in str(verify().exception)


def change_row(pack: Pack, table: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the first such row of the run as somebody would who makes every id and head again."""
    row = next(row for row in pack.rows if row[1] == table and pack.is_used(row))
    content = json.loads(row[3])
    change(content)
    pack.replace(row, content)


def other_verdict(content: dict[str, Any]) -> None:
    content["verdict"] = "first" if content["verdict"] == "second" else "second"


def other_label(content: dict[str, Any]) -> None:
    content["label"] = 0.125 if content["label"] != 0.125 else 0.25


def other_p(content: dict[str, Any]) -> None:
    content["p_first"] = 0.125 if content["p_first"] != 0.125 else 0.25


def other_agreement(content: dict[str, Any]) -> None:
    content["before"]["share"]["mean"] = 0.99


@pytest.mark.parametrize(
    ("table", "change", "check", "words"),
    [
        ("judgements", other_verdict, "comparisons", "and the answers give"),
        ("comparisons", other_p, "comparisons", "its p_first is"),
        ("calibrations", other_agreement, "agreement", "its before is"),
        ("preferences", other_label, "preferences", "its label is"),
    ],
)
def test_a_pack_whose_chain_was_made_again_round_one_change_differs_where_it_no_longer_follows(
    folder: Path, table: str, change: Callable[[dict[str, Any]], None], check: str, words: str
) -> None:
    pack = Pack(Path("pack"))
    change_row(pack, table, change)
    pack.write()
    result = verify()
    assert isinstance(result.exception, LedgerError)
    assert said(result)["chain"] == "holds"
    assert said(result)[check] == "DIFFERS", result.stdout
    assert f"first at {check}" in result.exception.sentence
    assert words in result.exception.sentence


def test_a_training_file_that_the_answers_do_not_give_differs(folder: Path) -> None:
    pack = Pack(Path("pack"))
    outputs = pack.values["stages"]["round_00/4_preferences"]["outputs"]
    outputs[next(name for name in outputs if name.startswith("dataset/"))] = "0" * 64
    pack.write()
    assert said(verify())["training file"] == "DIFFERS"


def test_a_dropped_pair_that_nobody_counted_differs(folder: Path) -> None:
    pack = Pack(Path("pack"))
    pack.values["stages"]["round_00/4_preferences"]["in"] += 1
    pack.write()
    assert "its stage counted in 25, kept 25" in str(verify().exception)


def test_a_text_that_is_left_out_and_was_not_redacted_is_named(folder: Path) -> None:
    pack = Pack(Path("pack"))
    row = next(row for row in pack.rows if row[1] == "samples" and pack.is_used(row))
    del pack.texts[json.loads(row[3])["text"]]
    pack.write()
    assert "the pack was made without its text, and it was not redacted" in verify().stdout


def test_a_redacted_text_stays_redacted_and_what_needs_it_is_open(folder: Path) -> None:
    with Ledger.open("runs/ledger.sqlite") as ledger:
        sample = ledger.used("002", 0, "2_samples", Sample)[0]
        digest = sample.text_digests["text"]
        assert digest is not None
        ledger.redact_text(digest, reason="private", author="ann", at="2026-01-01")
    assert rlaif("audit", "pack", "again", "--run", "002").exit_code == 0
    for file in Path("again").iterdir():
        data = file.read_bytes()
        assert sample.text.encode() not in (gzip.decompress(data) if file.suffix == ".gz" else data)
    result = verify("again")
    assert result.exit_code == 0, result.exception
    assert (said(result)["chain"], said(result)["training file"]) == ("holds", "open")


@needs_ssh_keygen
def test_only_a_signed_head_finds_a_pack_that_was_made_up_as_a_whole(folder: Path, tmp_path: Path) -> None:
    ann = Signer("ann", tmp_path)
    Path("allowed").write_text(ann.line())
    assert rlaif("audit", "head", "--run", "002", "--out", "head.txt").exit_code == 0
    signature = ann.sign(Path("head.txt"))
    assert rlaif("audit", "pack", "signed", "--run", "002", "--signed-head", str(signature)).exit_code == 0
    result = verify("signed", "--allowed-signers", "allowed")
    assert result.exit_code == 0, result.exception
    assert "signed by ann: rows 1 to" in result.stdout
    pack = Pack(Path("signed"))
    row = next(row for row in pack.rows if row[1] == "judgements")
    row[4] = json.dumps({**json.loads(row[4]), "at": "2020-01-01T00:00:00Z"})
    pack.write()
    assert verify("signed").exit_code == 0
    result = verify("signed", "--allowed-signers", "allowed")
    assert "its head is not the one that was printed in head.txt.ann.sig, signed by ann" in result.stdout
    assert result.exit_code == 1


def test_what_cannot_be_packed_or_is_no_pack_is_refused(folder: Path) -> None:
    assert "is there already" in str(rlaif("audit", "pack", "pack", "--run", "002").exception)
    assert isinstance(verify("runs").exception, DataError)
    assert isinstance(verify("pack", "--run", "002").exception, InputError)
    with contextlib.closing(__import__("apsw").Connection("runs/ledger.sqlite")) as file:
        file.execute("UPDATE uses SET observed = '{}'")
    assert isinstance(rlaif("audit", "pack", "broken", "--run", "002").exception, LedgerError)
    assert not os.path.lexists("broken")


@pytest.mark.parametrize(
    "broken",
    [
        lambda pack: pack.rows.append([1, "samples", "x", "{}", None, "00"]),
        lambda pack: pack.rows.__setitem__(3, [*pack.rows[3][:3], "no JSON", *pack.rows[3][4:]]),
        lambda pack: pack.rows.__setitem__(3, ["3", *pack.rows[3][1:]]),
        lambda pack: pack.rows.__setitem__(3, [3, "no_table", *pack.rows[3][2:]]),
        lambda pack: pack.rows.__setitem__(3, [10**30, *pack.rows[3][1:]]),
        lambda pack: pack.values.pop("stages"),
        lambda pack: pack.values["config"]["config"].update(seed="no number"),
        lambda pack: pack.values.update(heads=[[1]]),
        lambda pack: pack.values["stages"].update({"round_00/3_judgements": {"in": "?"}}),
        lambda pack: pack.about.update(run="../elsewhere"),
    ],
)
def test_an_odd_pack_is_refused_in_a_sentence(folder: Path, broken: Callable[[Pack], object]) -> None:
    pack = Pack(Path("pack"))
    broken(pack)
    pack.write(chain=False)
    result = verify()
    assert isinstance(result.exception, LedgerError | InputError), (result.exception, result.stdout)
