"""What a signed head of the chain proves: a record that is rewritten as a whole, with and without somebody's signature.

    python benchmarks/audit_proof.py [--mutations 1000] [--dir FOLDER]

Two runs share a ledger; two people sign its head between them. Each mutation changes, removes or exchanges rows and
then makes everything fit again: ids and all that names them, every head after the change, the manifests of both runs,
the heads on a model's card and in a report, and the digests that the stages and the manifest keep of those. Rows up to
the signed head are mutated and rows after it, and `audit verify` is asked with the signatures and without. Writes
benchmarks/results/audit_proof.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from typer.testing import CliRunner

from rlaif.audit.head_file import write_head
from rlaif.audit.ledger_file import verify_file
from rlaif.audit.signed_heads import NAMESPACE, SignedHead, read_signed
from rlaif.cli import app
from rlaif.ledger.chain import GENESIS, link
from rlaif.ledger.rows import KINDS, ChainRow, copy_rows, rows_in_order
from rlaif.ledger.sign_offs import StatedHead
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import StoredRow, find_texts
from rlaif.records import Tally, digest_text
from rlaif.run.finished import finish_stage
from rlaif.run.folder import RunFolder, write_manifest
from rlaif.run.stages import EVALUATION, POLICY

RESULTS = Path(__file__).parent / "results" / "audit_proof.json"
SIGNERS = ("ann", "bob")
OTHER = {"first": "second", "second": "first", "tie": "first"}
COLUMNS = """
key: id
prompt: prompt
responses: [a, b]
judge: the-judge
principle: kind
principle_text: Prefer the kinder reply.
verdict: winner
verdict_values: {first: [first], second: [second]}
"""


class Record(NamedTuple):
    """A record that somebody may rewrite, and what was signed of it."""

    runs_dir: Path
    rows: list[ChainRow]
    texts: dict[str, str | None]
    signatures: list[Path]
    allowed: Path
    last_signed: int


def make_record(folder: Path, *, pairs: int) -> Record:
    """Two runs of recorded verdicts in one ledger, whose head was signed after the first one."""
    with contextlib.chdir(folder):
        make_run("001", pairs=pairs)
        head, _ = write_head(Path("runs/ledger.sqlite"), out=Path("head.txt"), annotator=None)
        last_signed = json.loads(Path("runs/001/manifest.json").read_text())["ledger_heads"][-1]["seq"]
        signatures = [sign(head, name) for name in SIGNERS]
        make_run("002", pairs=pairs)
    with Ledger.open(folder / "runs" / "ledger.sqlite", read_only=True) as ledger:
        rows = list(rows_in_order(ledger))
        texts: dict[str, str | None] = {}
        for row in rows:
            stored = StoredRow(row.seq, row.id, row.content, row.observed)
            texts |= find_texts(ledger.rows, KINDS[row.place].type, [stored])
    paths = [folder / path for path in signatures]
    return Record(folder / "runs", rows, texts, signatures=paths, allowed=folder / "allowed", last_signed=last_signed)


def make_run(name: str, *, pairs: int) -> None:
    """A run of recorded verdicts with a card and a report that print the ledger's head, as training leaves them."""
    rows = [
        {"id": f"{name} {at}", "prompt": f"Where is desk {at}?", "a": f"There, {at}.", "b": f"No idea, {at}.",
         "winner": "first" if at % 3 else "second"}
        for at in range(pairs)
    ]  # fmt: skip
    Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("columns.yaml").write_text(COLUMNS)
    files = [f"--samples={name}.jsonl", f"--judgements={name}.jsonl", "--columns=columns.yaml"]
    done = CliRunner().invoke(app, ["generate-prefs", *files, "--run", name])
    assert done.exit_code == 0, done.exception
    run = RunFolder(Path("runs") / name)
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        head = ledger.head()
    card, report = run.stage_dir(0, POLICY) / "policy" / "README.md", run.stage_dir(0, EVALUATION) / "report.json"
    for path in (card, report):
        path.parent.mkdir(parents=True)
    card.write_text(f"# A policy\n\nThe ledger's head was `{head.hex}`, row {head.seq}: see `rlaif audit verify`.\n")
    report.write_text(json.dumps({"provenance": {"ledger_head": head.hex, "ledger_seq": head.seq}}))
    for stage in (POLICY, EVALUATION):
        finish_stage(run.stage_dir(0, stage), tally=Tally(num_in=1), unit=stage.unit)
    write_manifest(run, stated=StatedHead(*head), version="0")


def sign(text: Path, name: str) -> Path:
    """A new key, its line among the allowed signers, and its signature of the text."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", f"key_{name}"], check=True)
    kind, key, *_ = Path(f"key_{name}.pub").read_text().split()
    with Path("allowed").open("a") as file:
        file.write(f'{name} namespaces="{NAMESPACE}" {kind} {key}\n')
    signature = text.with_name(f"{text.name}.{name}.sig")
    with text.open("rb") as given, signature.open("wb") as made:
        command = ["ssh-keygen", "-q", "-Y", "sign", "-f", f"key_{name}", "-n", NAMESPACE]
        subprocess.run(command, stdin=given, stdout=made, stderr=subprocess.DEVNULL, check=True)
    return signature


class Forged(NamedTuple):
    rows: list[ChainRow]
    what: str
    removed: int | None = None
    """Row that was removed; those after it moved up."""


def forge(rows: list[ChainRow], rng: random.Random, *, first: int, last: int) -> Forged:
    """Rows with one of those from `first` to `last` changed, and everything after it made to fit."""
    candidates = list(mutations(rows, first=first, last=last))
    what, at = rng.choice(candidates)
    changed = list(rows)
    if what == "removed":
        del changed[at]
        return Forged(chain_again(changed), what, rows[at].seq)
    if what == "exchanged":
        changed[at], changed[at + 1] = changed[at + 1], changed[at]
    elif what == "observed":
        changed[at] = rows[at]._replace(observed=json.dumps({"at": f"20{rng.randrange(10, 99)}-01-01T00:00:00Z"}))
    else:
        changed[at] = rows[at]._replace(content=other_content(rows[at], rng))
    return Forged(chain_again(rename(changed, at) if what == "changed" else changed), what)


def mutations(rows: list[ChainRow], *, first: int, last: int) -> Iterator[tuple[str, int]]:
    for at, row in enumerate(rows):
        if not first <= row.seq <= last:
            continue
        kind = KINDS[row.place]
        if kind.table in ("judgements", "comparisons", "preferences", "uses"):
            yield "changed", at
        if row.observed is not None:
            yield "observed", at
        if not kind.text_fields and row.seq < last:
            yield "removed", at
            if not KINDS[rows[at + 1].place].text_fields:
                yield "exchanged", at


def other_content(row: ChainRow, rng: random.Random) -> str:
    """What a forger wants: another verdict, another side, another label, another run."""
    fields: dict[str, Any] = json.loads(row.content)
    match KINDS[row.place].table:
        case "judgements":
            fields["verdict"] = OTHER[fields["verdict"]]
        case "comparisons":
            fields["p_first"] = 1 - fields["p_first"] if fields["p_first"] != 0.5 else 0.75
        case "preferences":
            fields["label"] = 1 - fields["label"] if fields["label"] != 0.5 else 0.75
        case _:
            fields["making"] = fields["making"] + rng.randrange(1, 9)
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def rename(rows: list[ChainRow], at: int) -> list[ChainRow]:
    """Give a changed row the id of its content, and everything that names it, and what names that."""
    renamed: dict[str, str] = {}
    made = rows[:at]
    for number, row in enumerate(rows[at:]):
        content, kind = row.content, KINDS[row.place]
        for old, new in renamed.items():
            content = content.replace(old, new)
        if not kind.has_own_id and (number == 0 or content != row.content):
            new_id = digest_text(f"{kind.table}\n{content}")[:32]
            if new_id != row.id:
                renamed[row.id] = new_id
            row = row._replace(id=new_id, content=content)
        made.append(row)
    return made


def chain_again(rows: list[ChainRow]) -> list[ChainRow]:
    """Rows numbered and linked from the first one on."""
    head, made = GENESIS, []
    for seq, row in enumerate(rows, start=1):
        table = KINDS[row.place].table
        head = link(head, seq=seq, table=table, record_id=row.id, content=row.content, observed=row.observed)
        made.append(row._replace(seq=seq, head=head))
    return made


def write_forged(record: Record, forged: Forged, runs_dir: Path) -> None:
    """The folder of runs with the forged ledger, and with all that is printed of it made to fit."""
    shutil.copytree(record.runs_dir, runs_dir, ignore=shutil.ignore_patterns("ledger.sqlite*"))
    copy_rows(runs_dir / "ledger.sqlite", forged.rows, texts=record.texts)

    def new_head(seq: int) -> tuple[int, str]:
        moved = seq - (forged.removed is not None and seq >= forged.removed)
        return moved, forged.rows[moved - 1].head.hex()

    for run in (RunFolder(runs_dir / name) for name in ("001", "002")):
        card, report = run.stage_dir(0, POLICY) / "policy" / "README.md", run.stage_dir(0, EVALUATION) / "report.json"
        seq, digits = new_head(int(re.search(r"row (\d+)", card.read_text())[1]))  # type: ignore[index]
        card.write_text(re.sub(r"`[0-9a-f]{64}`, row \d+", f"`{digits}`, row {seq}", card.read_text()))
        report.write_text(json.dumps({"provenance": {"ledger_head": digits, "ledger_seq": seq}}))
        for stage in (POLICY, EVALUATION):
            finish_stage(run.stage_dir(0, stage), tally=Tally(num_in=1), unit=stage.unit)
        heads = json.loads((run.path / "manifest.json").read_text())["ledger_heads"]
        (run.path / "manifest.json").unlink()
        for head in heads:
            seq, digits = new_head(head["seq"])
            write_manifest(run, stated=StatedHead(seq, digits), version="0")


def is_found(runs_dir: Path, signed: Sequence[SignedHead] = ()) -> bool:
    """Whether `audit verify` finds something, with these signed heads or without any."""
    return bool(verify_file(runs_dir, run=None, ledger=None, signed=signed).problems)


def measure(folder: Path, *, num: int, pairs: int = 12) -> dict[str, Any]:
    record = make_record(folder, pairs=pairs)
    rng = random.Random(0)
    signed = read_signed(record.signatures, allowed=record.allowed)  # once: no mutation touches what people keep
    assert not is_found(record.runs_dir, signed)
    counts: dict[str, Any] = {
        "mutations": num, "rows": len(record.rows), "signed_rows": record.last_signed, "signers": len(SIGNERS),
    }  # fmt: skip
    spans = {"up_to_the_signed_head": (1, record.last_signed), "after_it": (record.last_signed + 1, len(record.rows))}
    for name, (first, last) in spans.items():
        found = {"found_with_signatures": 0, "found_without": 0, "kinds": {}}
        kinds: dict[str, int] = {}
        ends: set[bytes] = set()
        for number in range(num):
            forged = forge(record.rows, rng, first=first, last=last)
            runs_dir = folder / f"forged-{name}-{number}"
            write_forged(record, forged, runs_dir)
            found["found_with_signatures"] += is_found(runs_dir, signed)
            found["found_without"] += is_found(runs_dir)
            ends.add(forged.rows[-1].head)
            kinds[forged.what] = kinds.get(forged.what, 0) + 1
            shutil.rmtree(runs_dir)
        counts[name] = {**found, "different": len(ends), "kinds": dict(sorted(kinds.items()))}
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--dir", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        measured = measure(Path(folder), num=options.mutations)
    command = f"python benchmarks/audit_proof.py --mutations {options.mutations}"
    RESULTS.write_text(json.dumps({"command": command, **measured}, indent=2) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
