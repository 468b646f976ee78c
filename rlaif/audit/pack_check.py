"""A pack -> what holds in it and what does not, a line each: its chain, its signed heads, and every round made again.

Needs no weights, no network and no run folder: a ledger and a folder of stages are made of the pack, aside, and gone
afterwards. Whatever the pack says is untrusted.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rlaif.audit.compared import Check
from rlaif.audit.pack import written_by
from rlaif.audit.pack_files import SIGNED, Packed, read_pack
from rlaif.audit.rederive import RoundAgain
from rlaif.audit.signed_heads import SignedHead, compare_said, read_signed
from rlaif.config.load import parse_config
from rlaif.errors import RlaifError
from rlaif.files.atomic import digest_file
from rlaif.ledger.chain import PrintedHead
from rlaif.ledger.queries import find_constitution
from rlaif.ledger.rows import KINDS, copy_rows
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import Break, verify
from rlaif.preferences.pool import digest_pool
from rlaif.preferences.stage import DATASET
from rlaif.records import Constitution, RewardModelCard
from rlaif.run.book import Book
from rlaif.run.folder import RunFolder
from rlaif.run.names import check_name
from rlaif.run.round import Round
from rlaif.run.stages import JUDGEMENTS, PREFERENCES, REWARD_MODEL, STAGES

MAX_ROUNDS = 100
_TEXTED = {kind.table: kind for kind in KINDS if kind.text_fields}


class CheckedPack(NamedTuple):
    """What was found in a pack."""

    run: str
    num_rows: int
    checks: list[Check]
    signed: list[SignedHead]

    @property
    def first_difference(self) -> Check | None:
        return next((check for check in self.checks if check.outcome == "differs"), None)


def check_pack(path: Path, *, signatures: Sequence[Path], allowed: Path | None) -> CheckedPack:
    """Check a pack. signatures: those of heads; without any, those in the pack, where it is known who may sign."""
    packed = read_pack(path)
    check_name(packed.run)
    own = sorted((path / SIGNED).glob("*.sig")) if allowed is not None else []
    signed = read_signed(signatures or own, allowed=allowed)
    with tempfile.TemporaryDirectory(prefix="rlaif-pack-") as name:
        folder = Path(name)
        left_out = copy_rows(folder / "ledger.sqlite", packed.rows, texts=packed.texts)
        run = _make_run(folder / "runs", packed)
        with Ledger.open(folder / "ledger.sqlite") as ledger:
            checks = list(_check_chain(ledger, packed, signed=signed, left_out=left_out))
            if all(check.outcome != "differs" for check in checks):
                checks += _check_rounds(ledger, run, packed, folder=folder)
    return CheckedPack(packed.run, len(packed.rows), checks, signed)


def _make_run(runs_dir: Path, packed: Packed) -> RunFolder:
    """The run's folder as far as the functions of a run read it: its configuration and what its stages counted."""
    run = RunFolder(runs_dir / packed.run)
    run.path.mkdir(parents=True)
    (run.path / "config.json").write_text(json.dumps(packed.values["config"]))
    for number in range(MAX_ROUNDS):
        for stage in STAGES:
            values = packed.values["stages"].get(f"round_{number:02d}/{stage.folder}")
            if values is not None:
                folder = run.stage_dir(number, stage)
                folder.mkdir(parents=True)
                (folder / "stage.json").write_text(json.dumps(values))
    return run


def _check_chain(
    ledger: Ledger, packed: Packed, *, signed: Sequence[SignedHead], left_out: frozenset[str]
) -> Iterator[Check]:
    printed = [PrintedHead(*head) for head in packed.values["heads"]]
    known = [head for one in signed for head in one.as_printed()]
    last = PrintedHead(packed.head.seq, packed.head.hex, "the pack's own list")
    found = verify(ledger, heads=[last, *printed, *known], left_out=left_out)
    unsigned = [wrong for one in signed for wrong in compare_said(ledger, one)]
    wrong = [*found.breaks, *unsigned, *_find_missing(ledger, packed, left_out)]
    if wrong:
        yield from (Check("differs", "chain", str(one)) for one in wrong)
        return
    yield Check("holds", "chain", f"{found.rows} rows, unbroken, with {len(printed)} printed heads")
    if not signed:
        yield Check("open", "signatures", "no signed head was checked: the whole pack may have been made up at once")
    last_signed = max((one.head.seq for one in signed), default=0)
    if signed and last_signed < found.rows:
        said = f"rows {last_signed + 1} to {found.rows} are after the last signed head: nobody vouches for them"
        yield Check("open", "signatures", said)


def _find_missing(ledger: Ledger, packed: Packed, left_out: frozenset[str]) -> Iterator[Break]:
    """Texts of this run that the pack was made without, although nobody redacted them."""
    used = set(ledger.rows("SELECT DISTINCT record_table, record_id FROM uses WHERE run = ?", (packed.run,)))
    for table, record_id in sorted(used):
        kind = _TEXTED.get(table)
        if kind is None:
            continue
        for seq, content in ledger.rows(f"SELECT seq, content FROM {table} WHERE id = ?", (record_id,)):
            fields = json.loads(content)
            for name in kind.text_fields:
                if fields.get(name) in left_out:
                    yield Break(table, seq, f"the pack was made without its {name}, and it was not redacted")


def _check_rounds(ledger: Ledger, run: RunFolder, packed: Packed, *, folder: Path) -> Iterator[Check]:
    try:
        config = parse_config(json.dumps(run.config["config"]), where="the pack", is_complete=True)
    except RlaifError as error:
        yield Check("differs", "configuration", error.sentence)
        return
    book = Book(run, ledger)
    exported: list[Path] = []
    judged = [number for number in range(MAX_ROUNDS) if run.stage_dir(number, JUDGEMENTS).is_dir()]
    for number in judged:
        constitution = _find_constitution(ledger, run, number=number)
        if isinstance(constitution, str):
            yield Check("differs", f"round {number}", constitution)
            return
        again = RoundAgain(Round(config, run=run, ledger=ledger, constitution=constitution, number=number), book)
        is_paired = run.stage_dir(number, PREFERENCES).is_dir()
        steps: list[tuple[str, Callable[[], Check | None]]] = [
            ("questions", again.check_questions),
            ("comparisons", again.check_comparisons),
            ("draws for people", again.check_draws),
        ]
        if is_paired:
            steps += [
                ("agreement", again.check_agreement),
                ("preferences", again.check_preferences),
                ("training file", partial(_check_export, again, packed, exported, folder=folder)),
            ]
        yield from _take(steps, number=number, is_only=len(judged) == 1)
    if not judged:
        yield Check("open", "rounds", "nothing was judged in this run")


def _find_constitution(ledger: Ledger, run: RunFolder, *, number: int) -> Constitution | str:
    """What a round was judged by, or why that is not known."""
    try:
        found = find_constitution(ledger, run=run.name, round=number, stage=JUDGEMENTS.folder)
    except (RlaifError, ValueError, KeyError, TypeError) as error:
        return f"its constitution cannot be read: {error}"
    return "the chain holds no question of it" if found is None else found


def _take(steps: Sequence[tuple[str, Callable[[], Check | None]]], *, number: int, is_only: bool) -> Iterator[Check]:
    """The steps of a round one after another; each needs those before it, and the first that fails ends them."""
    for name, step in steps:
        try:
            found = step()
        except RlaifError as error:
            found = Check("differs", name, error.sentence)
        except (KeyError, ValueError, TypeError, IndexError) as error:  # records that do not belong together
            found = Check("differs", name, f"cannot be made again: {error!r}")
        if found is not None:
            yield found if is_only else found._replace(name=f"round {number}, {found.name}")
            if found.outcome == "differs":
                return


def _check_export(again: RoundAgain, packed: Packed, exported: list[Path], *, folder: Path) -> Check:
    """The training file of a round, byte for byte, and the digest of all so far on the reward model's card."""
    name, number = "training file", again.round.number
    if hidden := again.find_hidden_rows():
        return Check("open", name, f"the texts of {hidden} of its rows were redacted")
    made = again.export(folder / "exported")
    exported.append(made)
    outputs = packed.values["stages"][f"round_{number:02d}/{PREFERENCES.folder}"]["outputs"]
    stored = {file: digest for file, digest in outputs.items() if file.startswith(f"{DATASET}/")}
    files = sorted(path for path in made.rglob("*.parquet"))
    found = {f"{DATASET}/{file.relative_to(made).as_posix()}": digest_file(file) for file in files}
    if found != stored:
        writer, ours = packed.values.get("parquet"), written_by(files[0])
        if writer != ours:
            said = f"{writer} wrote it and {ours} is here, whose bytes differ; its rows are the preferences above"
            return Check("open", name, said)
        return Check("differs", name, f"sha256 of {next(iter(stored or found))} is another one")
    said = f"{len(found)} files, split and written again, the same sha256"
    return _compare_card(again, Check("holds", name, said), exported)


def _compare_card(again: RoundAgain, check: Check, exported: Sequence[Path]) -> Check:
    number, given = again.round.number, again.round.config.reward_model.preferences
    cards = again.book.used(REWARD_MODEL, RewardModelCard, round=number)
    if not cards or given is not None or len(exported) != number + 1:
        return check
    digest = digest_pool(exported)
    if cards[0].dataset_digest != digest:
        said = f"the reward model was trained on {cards[0].dataset_digest}, and the answers give {digest}"
        return Check("differs", check.name, said)
    return check._replace(said=f"{check.said}; it is the one that the reward model was trained on")
