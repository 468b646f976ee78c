"""An index beside a ledger, built when it is asked for: what can be searched and filtered of every decision.

A file of its own, which holds copies of texts and nothing that the ledger does not hold: it may be deleted at any time,
and is made again where a text was redacted since. A decision is indexed once; labels of people that came later are read
whenever it is brought up to date. Decides no filter: `rlaif.audit.search` does.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from rlaif.audit.queue_index import DDL as QUEUE_DDL
from rlaif.audit.queue_index import describe_queue_lag, queue_edit_flips, queue_page, queue_reward_misses
from rlaif.errors import LedgerError
from rlaif.ledger.disk import in_sentences
from rlaif.ledger.queries import find_comparisons
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, HumanLabel, Judgement, Prompt, Question, Sample
from rlaif.stats.logits import P_FIRST, canonical_pair

VERSION = 3
APPLICATION_ID = 0x524C5349  # "RLSI"
ROWS_AT_ONCE = 500
INDEX_FILES = (".search", ".search-wal", ".search-shm")
"""How the names of an index's files go on after the ledger's."""
DDL = (
    "CREATE TABLE state (version INTEGER, head TEXT, seq INTEGER, redactions INTEGER, labels INTEGER, uses INTEGER)",
    "CREATE TABLE decisions (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, prompt_id TEXT, principle TEXT,"
    " judge TEXT, mode TEXT, winner TEXT, p_winner REAL, flipped INTEGER, gap INTEGER, people TEXT)",
    "CREATE INDEX decisions_prompt ON decisions (prompt_id)",
    "CREATE INDEX decisions_people ON decisions (people, seq) WHERE people IS NOT NULL",
    "CREATE INDEX decisions_principle ON decisions (principle, seq)",
    "CREATE INDEX decisions_judge ON decisions (judge, seq)",
    "CREATE INDEX decisions_mode ON decisions (mode, seq)",
    "CREATE TABLE used (run TEXT, round INTEGER, seq INTEGER, PRIMARY KEY (run, round, seq)) WITHOUT ROWID",
    "CREATE INDEX used_run ON used (run, seq)",
    "CREATE INDEX used_round ON used (round, seq)",
    "CREATE VIRTUAL TABLE words USING fts5(conversation, replies, reasons, content='', tokenize='unicode61')",
    *QUEUE_DDL,
)


def index_path(ledger: Path) -> Path:
    """Where a ledger's index lies."""
    return ledger.with_name(ledger.name + INDEX_FILES[0])


class IndexState(NamedTuple):
    """What an index covers."""

    seq: int
    """The ledger's row up to which decisions are in it."""
    redactions: int
    labels: int
    """The row up to which people's labels were read."""
    uses: int


def read_state(ledger: Ledger) -> IndexState | None:
    """What the ledger's index covers; None where there is none for this version, or where a redaction came since."""
    path = index_path(ledger.path)
    if not path.is_file():
        return None
    with in_sentences(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            _refuse_others(connection, path)
            found = _stored_state(connection, ledger)
        finally:
            connection.close()
    return found if found is not None and found.redactions == _count(ledger, "redactions") else None


def count_new(ledger: Ledger) -> int:
    """How many decisions the index lacks."""
    state = read_state(ledger)
    after = 0 if state is None else state.seq
    return int(ledger.rows("SELECT count(*) FROM comparisons WHERE seq > ?", (after,))[0][0])


def describe_lag(ledger: Ledger, state: IndexState, *, runs_dir: Path) -> str:
    """What came since the index was brought up to date; empty where nothing did."""
    if num_new := count_new(ledger):
        return f"{num_new} decision{'s' * (num_new > 1)} came since"
    later = (("human_labels", state.labels), ("uses", state.uses))
    names = [table for table, seq in later if ledger.rows(f"SELECT max(seq) > ? FROM {table}", (seq,))[0][0]]
    if names:
        return f"{' and '.join(names).replace('_', ' ')} came since"
    connection = open_index(ledger)
    try:
        return describe_queue_lag(connection, ledger, runs_dir)
    finally:
        connection.close()


def open_index(ledger: Ledger) -> apsw.Connection:
    """The index, to be read; whoever opens it closes it."""
    connection = apsw.Connection(str(index_path(ledger.path)), flags=apsw.SQLITE_OPEN_READONLY)
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


def discard_index(ledger: Path) -> None:
    """Remove a ledger's index, which holds copies of texts; one is made again when it is asked for."""
    path = index_path(ledger)
    if not path.is_file():
        return
    with in_sentences(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            _refuse_others(connection, path)
        finally:
            connection.close()
    for end in INDEX_FILES:
        ledger.with_name(ledger.name + end).unlink(missing_ok=True)


def update_index(
    ledger: Ledger, *, runs_dir: Path | None = None, report: Callable[[int], None] = lambda _: None
) -> None:
    """Bring the ledger's index up to date, made where there is none. report: gets each number of new ones.

    runs_dir: where the reports lie that say which labels the reward models contradict; None: beside the ledger.
    """
    path = index_path(ledger.path)
    if read_state(ledger) is None:
        discard_index(ledger.path)  # that of another ledger, or one with a text that was redacted since
    with in_sentences(path):
        connection = apsw.Connection(str(path))
        try:
            connection.set_busy_timeout(5000)
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            connection.execute("PRAGMA synchronous=NORMAL")
            _update(connection, ledger, report=report)
            queue_edit_flips(connection, ledger)
            queue_reward_misses(connection, ledger, runs_dir or ledger.path.parent)
        finally:
            connection.close()


def _update(connection: apsw.Connection, ledger: Ledger, *, report: Callable[[int], None]) -> None:
    state = _stored_state(connection, ledger)
    if state is None:
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        with connection:
            for statement in DDL:
                connection.execute(statement)
            values = (VERSION, "", 0, _count(ledger, "redactions"), 0, 0)
            connection.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)", values)
        state = IndexState(0, values[3], 0, 0)
    for page in _pages(ledger, after=state.seq):
        with connection:
            _add(connection, ledger, page)
            connection.execute("UPDATE state SET seq = ?, head = ?", (page[-1][0], ledger.head_at(page[-1][0])))
        report(len(page))
    _add_uses(connection, ledger, after=state.uses)
    _add_people(connection, ledger, after=state.labels)


def _refuse_others(connection: apsw.Connection, path: Path) -> None:
    """Refuse a file that is no index of ours: it is the user's, and is never replaced."""
    if connection.execute("PRAGMA application_id").get not in (0, APPLICATION_ID) or (
        connection.execute("PRAGMA application_id").get == 0
        and connection.execute("SELECT count(*) FROM sqlite_schema").get
    ):
        raise LedgerError(
            "a file of another program has the name of the search index", where=str(path), fix="move it away"
        )


def _stored_state(connection: apsw.Connection, ledger: Ledger) -> IndexState | None:
    """None in an empty file, in one of another version, and in one that was made of another ledger."""
    if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'state'").get:
        return None
    rows: list[tuple[Any, ...]] = connection.execute("SELECT * FROM state").fetchall()
    version, head, *counts = rows[0]
    state = IndexState(*map(int, counts))
    is_its = not state.seq or ledger.head_at(state.seq) == head
    return state if version == VERSION and is_its else None


def _count(ledger: Ledger, table: str) -> int:
    return int(ledger.rows(f"SELECT count(*) FROM {table}")[0][0])


def _pages(ledger: Ledger, *, after: int) -> Iterator[list[tuple[int, Comparison]]]:
    sql = "SELECT seq, id FROM comparisons WHERE seq > ? ORDER BY seq LIMIT ?"
    while rows := ledger.rows(sql, (after, ROWS_AT_ONCE)):
        found = ledger.find(Comparison, [record_id for _, record_id in rows])
        yield [(seq, found[record_id]) for seq, record_id in rows]
        after = rows[-1][0]


def _add(connection: apsw.Connection, ledger: Ledger, page: Sequence[tuple[int, Comparison]]) -> None:
    comparisons = [comparison for _, comparison in page]
    prompts = ledger.find(Prompt, {one.prompt_id for one in comparisons})
    samples = ledger.find(Sample, {key for one in comparisons for key in one.sample_ids})
    judgements = ledger.find(Judgement, {key for one in comparisons for key in one.judgement_ids})
    questions = ledger.find(Question, {one.question_id for one in judgements.values()})
    for seq, one in page:
        texts = [samples[key].text if key in samples else "" for key in one.sample_ids]
        answers = [judgements[key] for key in one.judgement_ids if key in judgements]
        asked = next((questions[a.question_id] for a in answers if a.question_id in questions), None)
        words = [len(text.split()) for text in texts]
        winner = "tie" if one.p_first == 0.5 else "first" if one.p_first > 0.5 else "second"
        gap = 0 if winner == "tie" else words[0] - words[1] if winner == "first" else words[1] - words[0]
        connection.execute(
            "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                seq, one.id, one.prompt_id, one.principle.id, one.judge_id, None if asked is None else asked.mode,
                winner, max(one.p_first, 1 - one.p_first), None if one.flipped is None else int(one.flipped), gap,
            ),
        )  # fmt: skip
        prompt = prompts.get(one.prompt_id)
        conversation = "" if prompt is None else "\n".join(message.content for message in prompt.messages)
        reasons = "\n".join(answer.reason for answer in answers if answer.reason)
        connection.execute(
            "INSERT INTO words (rowid, conversation, replies, reasons) VALUES (?, ?, ?, ?)",
            (seq, conversation, "\n".join(texts), reasons),
        )
    queue_page(connection, ledger, page, samples=samples, judgements=judgements, questions=questions)


def _add_uses(connection: apsw.Connection, ledger: Ledger, *, after: int) -> None:
    """Which runs and rounds used the decisions."""
    sql = "SELECT seq, run, round, record_id, record_table FROM uses WHERE seq > ? ORDER BY seq LIMIT 5000"
    while rows := ledger.rows(sql, (after,)):
        with connection:
            connection.executemany(
                "INSERT OR IGNORE INTO used SELECT ?, ?, seq FROM decisions WHERE id = ?",
                [tuple(use) for _, *use, table in rows if table == Comparison.table],
            )
            after = rows[-1][0]
            connection.execute("UPDATE state SET uses = ?", (after,))


def _add_people(connection: apsw.Connection, ledger: Ledger, *, after: int) -> None:
    """Whether people take the judge's side, of the pairs that they labelled since: agree, disagree, or a tie."""
    rows = ledger.rows("SELECT seq, prompt_id FROM human_labels WHERE seq > ? ORDER BY seq", (after,))
    if not rows:
        return
    with connection:
        for prompt_id in dict.fromkeys(prompt_id for _, prompt_id in rows):
            sides = _find_sides(ledger, prompt_id)
            for comparison in find_comparisons(ledger, [prompt_id]):
                said = [*sides.get((comparison.sample_ids, "overall"), ())]
                said += sides.get((comparison.sample_ids, comparison.principle.id), ())
                if said:
                    people = _compare(statistics.fmean(said), comparison.p_first)
                    connection.execute("UPDATE decisions SET people = ? WHERE id = ?", (people, comparison.id))
        connection.execute("UPDATE state SET labels = ?", (rows[-1][0],))


def _compare(people: float, judge: float) -> str:
    if people == 0.5 or judge == 0.5:
        return "tie"
    return "agree" if (people > 0.5) == (judge > 0.5) else "disagree"


def _find_sides(ledger: Ledger, prompt_id: str) -> dict[tuple[tuple[str, str], str], list[float]]:
    """Pair and principle -> how far each person is for the first of the pair; a label that was replaced is left out."""
    ids = [row[0] for row in ledger.rows("SELECT id FROM human_labels WHERE prompt_id = ?", (prompt_id,))]
    labels = ledger.find(HumanLabel, ids).values()
    replaced = {label.replaces for label in labels}
    sides: dict[tuple[tuple[str, str], str], list[float]] = defaultdict(list)
    for label in labels:
        if label.id not in replaced and len(label.sample_ids) == 2:
            pair = canonical_pair(*label.sample_ids)
            p = P_FIRST[label.choice]
            sides[pair, label.principle_id].append(p if label.sample_ids[0] == pair[0] else 1 - p)
    return sides
