"""Every revision with its tag, its scores, and whether it was kept: a JSON Lines file for each round.

The files stand in the method's folder and are written whole. The judge's own answers are in the ledger, which the ids
here name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rlaif.files.atomic import write_atomically
from rlaif.files.own_files import read_own
from rlaif.policy.methods.revision_examples import Tag
from rlaif.records import Prompt, Tally
from rlaif.records.base import Value

FOLDER = "revisions"
_FIX = "restore it from a copy, or remove the stage's folder to do it again"


class Revision(Value):
    """A response of the policy and what became of it."""

    round: int
    """From 1."""
    prompt_id: str
    original: str
    score: float | None
    """The judge's score of the original, from -1 to 1; None where the judge failed."""
    judgement_ids: tuple[str, ...] = ()
    """The judge's answers about the original, in the ledger."""
    tag: Tag | None = None
    """How much the reviser saw wrong; None where it was not asked or wrote no tag."""
    revised: str | None = None
    """None where there is no revision; the original where it is GOOD."""
    revised_score: float | None = None
    revised_judgement_ids: tuple[str, ...] = ()
    dropped: str = ""
    """Why the policy did not learn it: `worse` (by the judge), `judge/CAUSE`, `no_tag`, `cut`, `empty`, `over_length`;
    empty where it did."""

    @property
    def is_kept(self) -> bool:
        return not self.dropped


def write_revisions(revisions: Sequence[Revision], folder: Path, *, round: int) -> None:
    """revisions/round_NN.jsonl of a method's folder."""
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    write_atomically(target / f"round_{round:02}.jsonl", "".join(f"{one.model_dump_json()}\n" for one in revisions))


def read_revisions(folder: Path) -> Iterator[Revision]:
    """The revisions of all rounds in a method's folder, in their order."""
    for path in sorted((folder / FOLDER).glob("round_*.jsonl")):
        yield from read_own(path, _read_lines, fix=_FIX)


def _read_lines(data: bytes) -> list[Revision]:
    return [Revision.model_validate_json(line) for line in data.splitlines()]


def count_revisions(revisions: Sequence[Revision]) -> Tally:
    """How many were learnt, and why the others were not."""
    dropped = Counter(one.dropped for one in revisions if one.dropped)
    return Tally(num_in=len(revisions), dropped=dict(dropped))


def find_learnt(revisions: Sequence[Revision], prompts: Sequence[Prompt]) -> list[tuple[Prompt, str]]:
    """The kept revisions with their prompts."""
    by_id = {prompt.id: prompt for prompt in prompts}
    return [(by_id[one.prompt_id], one.revised or "") for one in revisions if one.is_kept]
