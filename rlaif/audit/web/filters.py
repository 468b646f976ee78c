"""The filters of a list as its address has them, refused where a list has no such filter or value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from rlaif.audit.disputes import REASONS, SAYS, Asked
from rlaif.audit.listing import Listed
from rlaif.errors import InputError
from rlaif.records import Verdict

KINDS: dict[Listed, str] = {
    "judgements": "all judgements",
    "flipped": "pairs that the order decided",
    "failed": "failed answers",
}
VERDICTS: tuple[Verdict, ...] = ("first", "second", "tie")


class Filters(NamedTuple):
    """What a list is asked for, by its address."""

    kind: Listed
    run: str
    principle: str
    verdict: Verdict | None
    after: int

    def address(self, *, after: int) -> str:
        """The address of the same list, after this key."""
        values = {"kind": self.kind, "run": self.run, "principle": self.principle, "verdict": self.verdict or ""}
        asked = {name: value for name, value in values.items() if value}
        return f"/judgements?{urlencode(asked | ({'after': str(after)} if after else {}))}"


def read_filters(query: Mapping[str, str]) -> Filters:
    """The filters of an address, refused where a value is none that a list has."""
    refuse_unknown_names(query, ("kind", "run", "principle", "verdict", "after"))
    kind, verdict = query.get("kind") or "judgements", query.get("verdict") or None
    found = next((known for known in KINDS if known == kind), None)
    said = next((known for known in VERDICTS if known == verdict), None)
    if found is None:
        raise InputError(f'there is no list "{kind[:40]}"', fix=f"there are {', '.join(KINDS)}")
    if verdict is not None and said is None:
        raise InputError(f'"{verdict[:40]}" is no verdict', fix=f"there are {', '.join(VERDICTS)}")
    if found == "failed" and said is not None:
        raise InputError("a failed answer has no verdict", fix="leave the verdict out")
    return Filters(found, query.get("run", ""), query.get("principle", ""), said, read_after(query))


def read_asked(query: Mapping[str, str]) -> Asked:
    """The filters of the disputes' page, refused where a value is none that a dispute can have."""
    refuse_unknown_names(query, (*Asked._fields, "before"))
    asked = Asked(*(query.get(name, "") for name in Asked._fields))
    if asked.says and asked.says not in SAYS:
        raise InputError(f'"{asked.says[:40]}" is nothing that a dispute says', fix=f"there are {', '.join(SAYS)}")
    if asked.reason and asked.reason not in REASONS:
        raise InputError(f'"{asked.reason[:40]}" is no reason of a dispute', fix=f"there are {', '.join(REASONS)}")
    return asked


def read_after(query: Mapping[str, str], *, name: str = "after") -> int:
    """The place in a list after which a page begins, or before which, by the name that the address gives it."""
    after = query.get(name) or "0"
    if not (after.isascii() and after.isdecimal() and int(after) < 2**63):
        raise InputError(f'"{after[:40]}" is no place in the list', fix="begin at its first page")
    return int(after)


def refuse_unknown_names(query: Mapping[str, str], known: Sequence[str]) -> None:
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise InputError(f'there is no filter "{unknown[0][:40]}"', fix=f"there are {', '.join(known)}")


def refuse_unknown(asked: Filters, known: Mapping[str, Sequence[str]]) -> None:
    for name, value in (("run", asked.run), ("principle", asked.principle)):
        if value and value not in known[name]:
            raise InputError(f'no decision in this ledger has the {name} "{value[:80]}"', fix="choose one of the list")
