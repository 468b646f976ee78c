"""What people say of single decisions: stored with author, time and the chain's head that they saw, and read again.

A dispute changes no label and trains nothing: whoever disputes has seen the judge's verdict. It says which principles
to rewrite and which pairs to have labelled blind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

from rlaif.audit.listing import ID_SHOWN, MAX_TEXT, Listing
from rlaif.errors import DataError, InputError
from rlaif.files.atomic import utc_now
from rlaif.ledger.chain import Head
from rlaif.ledger.labels import find_label
from rlaif.ledger.queries import find_decision
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import id_lists
from rlaif.records import Comparison, Dispute, DisputeReason, Observed, Says

MAX_NOTE = 2000
MAX_AUTHOR = 80
SAYS: dict[Says, str] = {"right": "right", "wrong": "wrong", "unclear": "unclear"}


class Chip(NamedTuple):
    """A reason as a page offers it."""

    key: str
    words: str


REASONS: dict[DisputeReason, Chip] = {
    "ignored": Chip("i", "ignored the principle"),
    "backwards": Chip("b", "read it backwards"),
    "length": Chip("l", "length decided"),
    "style": Chip("s", "style decided"),
    "injection": Chip("j", "a reply spoke to the judge"),
    "fact": Chip("f", "a fact"),
    "other": Chip("o", "something else"),
}
"""Why a decision is wrong."""


class Disputed(NamedTuple):
    """A dispute, and the decision that it is about."""

    dispute: Dispute
    comparison: Comparison | None
    """None where the ledger does not have it."""


class DisputeList(NamedTuple):
    rows: tuple[Disputed, ...]
    next_key: int | None
    """Give it as `before` for the next page; None: that was all."""


class Asked(NamedTuple):
    """Which disputes are wanted; an empty field leaves out nothing."""

    says: str = ""
    reason: str = ""
    principle: str = ""


EVERY = Asked()


def make_dispute(comparison: Comparison, *, author: str, says: str, reason: str, note: str, seen: Head) -> Dispute:
    """A dispute from what a form or a command line holds, refused where a field is not one of those offered."""
    if not author or len(author) > MAX_AUTHOR or not author.isprintable():
        raise InputError("a dispute needs its author's name", fix=f"give one of at most {MAX_AUTHOR} characters")
    if says not in get_args(Says):
        raise InputError(f'"{says[:40]}" is nothing that a dispute can say', fix=f"say {', '.join(SAYS)}")
    if reason and reason not in REASONS:
        raise InputError(f'"{reason[:40]}" is no reason of a dispute', fix=f"give one of {', '.join(REASONS)}, or none")
    if len(note) > MAX_NOTE:
        raise DataError(f"a note holds at most {MAX_NOTE} characters, and this one has {len(note)}", fix="shorten it")
    return Dispute.model_validate(
        {
            "comparison_id": comparison.id, "author": author, "says": says, "reason": reason or None,
            "note": note.strip() or None, "seen_seq": seen.seq, "seen_head": seen.hex,
            "observed": Observed(at=utc_now()),
        }
    )  # fmt: skip


def add_dispute(ledger: Ledger, prefix: str, *, author: str, says: str, reason: str, note: str, seen: Head) -> Dispute:
    """Store what somebody says of the decision whose id begins so. ledger: open to be written; seen: its chain's head
    when they saw the decision."""
    made = make_dispute(find_disputable(ledger, prefix), author=author, says=says, reason=reason, note=note, seen=seen)
    ledger.append([made])
    return made


def find_disputable(ledger: Ledger, prefix: str) -> Comparison:
    """The decision of a judge that an id, or how it begins, leads to; of a preference its first one."""
    label = find_label(ledger, prefix)
    if label is not None:
        found = next((one for one in label.comparisons if one is not None), None)
    else:
        found = find_decision(ledger, prefix).comparison
    if found is None:
        raise InputError("there is no decision of a judge to dispute here", fix="open one from the list")
    return found


def find_disputes(ledger: Ledger, comparison_ids: Iterable[str]) -> list[Dispute]:
    """The disputes about some comparisons, in the order in which they were made."""
    sql = "SELECT id FROM disputes WHERE comparison_id IN (SELECT value FROM json_each(?)) ORDER BY seq"
    ids = [key for chunk in id_lists(comparison_ids) for (key,) in ledger.rows(sql, (chunk,))]
    return list(ledger.find(Dispute, ids).values())


_LAST = (
    " FROM disputes AS d LEFT JOIN comparisons AS c ON c.id = d.comparison_id WHERE NOT EXISTS"
    " (SELECT 1 FROM disputes AS later WHERE later.comparison_id = d.comparison_id AND later.seq > d.seq"
    "  AND later.content ->> '$.author' = d.content ->> '$.author')"
)
"""Part of a statement: each author's last word on each decision."""


def list_disputes(ledger: Ledger, asked: Asked = EVERY, *, before: int | None = None, limit: int = -1) -> DisputeList:
    """Each author's last word on each decision, the newest first.

    before: as a list's `next_key`, to continue below it; limit: rows at most, below 0 all.
    """
    where, values = _conditions(asked)
    if before is not None:
        where, values = f"{where} AND d.seq < ?", [*values, before]
    rows = list(ledger.rows(f"SELECT d.seq, d.id{_LAST}{where} ORDER BY d.seq DESC LIMIT ?", (*values, limit)))
    disputes = ledger.find(Dispute, [key for _, key in rows])
    found = ledger.find(Comparison, {one.comparison_id for one in disputes.values()})
    shown = [Disputed(disputes[key], found.get(disputes[key].comparison_id)) for _, key in rows]
    return DisputeList(tuple(shown), rows[-1][0] if len(rows) == limit else None)


def count_disputed(ledger: Ledger, asked: Asked = EVERY) -> dict[str, Counter[str]]:
    """What each author says last of each decision, counted by the decision's principle, without reading a record.

    Those most often called wrong come first; "": decisions that the ledger does not have.
    """
    where, values = _conditions(asked)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for principle_id, says, number in ledger.rows(
        f"SELECT coalesce(c.principle_id, ''), d.says, count(*){_LAST}{where} GROUP BY 1, 2", tuple(values)
    ):
        counts[principle_id][says] += number
    return dict(sorted(counts.items(), key=lambda row: (-row[1]["wrong"], row[0])))


def _conditions(asked: Asked) -> tuple[str, list[str | int]]:
    columns = {"d.says": asked.says, "d.content ->> '$.reason'": asked.reason, "c.principle_id": asked.principle}
    chosen = {column: value for column, value in columns.items() if value}
    return "".join(f" AND {column} = ?" for column in chosen), list(chosen.values())


def list_lines(rows: Sequence[Disputed]) -> Listing:
    """The disputes as a table of texts."""
    lines = [
        (
            dispute.comparison_id[:ID_SHOWN], "" if comparison is None else comparison.principle.id, dispute.says,
            dispute.reason or "", dispute.author, dispute.observed.at,
            " ".join((dispute.note or "").split())[:MAX_TEXT],
        )
        for dispute, comparison in rows
    ]  # fmt: skip
    return Listing(("comparison", "principle", "judge was", "reason", "by", "at", "note"), tuple(lines), None)


def describe_counts(counts: Mapping[str, Counter[str]]) -> Iterator[str]:
    """What is said of the decisions under each principle, a sentence each."""
    for name, said in counts.items():
        words = ", ".join(f"{said[one]} {one}" for one in SAYS if said[one])
        yield f"{name or 'decisions that are not in this ledger'}: {words}"
