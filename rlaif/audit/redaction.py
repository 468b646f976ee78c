"""A text that must go: removed from the ledger by a person's order, and everywhere named where it still is.

The record keeps the text's digest, who removed it, when and why, so that the chain still verifies. Files of a run are
named and never changed: their digests stand in stage.json and in the cards of the models that were made of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rlaif.audit.influence import follow_decision
from rlaif.audit.search_index import INDEX_FILES, discard_index
from rlaif.audit.text_files import find_files, find_parts
from rlaif.audit.traced import TracedHead, TracedModel
from rlaif.errors import InputError
from rlaif.files.atomic import utc_now
from rlaif.ledger.queries import list_records
from rlaif.ledger.redacted import NamedText, find_named_texts, find_redactions, find_repeats
from rlaif.ledger.store import Ledger
from rlaif.records import EditTest, Prompt, Sample, SpotCheck, Value

MAX_REASON = 2000


class TextGone(Value):
    """A text that goes."""

    digest: str
    num_characters: int
    records: tuple[str, ...]
    """All records that lose it, such as `samples 0123...: text`."""
    is_searched: bool
    """False where it is too short to be searched for elsewhere."""


class StillThere(Value):
    """A place that keeps the text, or a part of it."""

    where: str
    what: str


class Redacted(Value):
    """What a redaction removes, and what it leaves."""

    ledger: str
    texts: tuple[TextGone, ...]
    repeats: tuple[StillThere, ...]
    """Other texts of the ledger that repeat a part of it; each has a digest and can be redacted too."""
    fixed: tuple[StillThere, ...]
    """Records that hold a part themselves, which the chain covers: they cannot be redacted."""
    files: tuple[StillThere, ...]
    sheets: tuple[StillThere, ...]
    """Sheets for annotators that were made with it, wherever their files are."""
    models: tuple[TracedModel, ...]
    """Models that were trained on preferences about it."""
    is_done: bool = False
    is_out_of_log: bool = True
    """False while another process reads the ledger, whose log may then hold the text until that process ends."""
    head: TracedHead | None = None
    """The ledger's last row after the redaction."""


def plan_redaction(ledger: Ledger, names: Sequence[str], *, runs_dir: Path | None) -> Redacted:
    """What would go and what would stay. names: digests of texts, or ids of records with texts.

    runs_dir: the folder whose files are searched; None: none.
    """
    named = [text for name in names for text in find_named_texts(ledger, name)]
    _refuse_redacted(ledger, named)
    bodies = {text.digest: ledger.text(text.digest) or "" for text in named}
    parts = {text.digest: _find_parts(ledger, text) for text in named}
    searched = tuple(dict.fromkeys(part for found in parts.values() for part in found))
    repeats = find_repeats(ledger, searched, but=bodies) if searched else []
    beside = (ledger.path.with_name(ledger.path.name + end) for end in ("", "-wal", "-shm", *INDEX_FILES))
    files = find_files(runs_dir, searched, leave_out=beside) if searched and runs_dir is not None else []
    return Redacted(
        ledger=str(ledger.path),
        texts=tuple(
            TextGone(
                digest=digest,
                num_characters=len(body),
                records=tuple(map(_describe, find_named_texts(ledger, digest))),
                is_searched=bool(parts[digest]),
            )
            for digest, body in bodies.items()
        ),
        repeats=tuple(
            StillThere(where=f"{one.table} {one.record_id}: {one.field}", what=one.digest)
            for one in repeats if one.digest
        ),
        fixed=tuple(
            StillThere(where=f"{one.table} {one.record_id}", what=one.field) for one in repeats if not one.digest
        ),
        files=tuple(StillThere(where=str(found.path), what=found.problem) for found in files),
        sheets=tuple(_find_sheets(ledger, named)),
        models=tuple(_find_models(ledger, named)),
    )  # fmt: skip


def redact(ledger: Ledger, plan: Redacted, *, reason: str, author: str) -> Redacted:
    """Remove the texts of a plan; what the plan found elsewhere stays there."""
    check_reason(ledger, plan, reason=reason)
    at = utc_now()
    discard_index(ledger.path)  # it has copies of texts, and is made again when it is asked for
    done = [ledger.redact_text(text.digest, reason=reason, author=author, at=at) for text in plan.texts]
    head = ledger.head()
    return plan.model_copy(
        update={
            "is_done": True, "is_out_of_log": all(done),
            "head": TracedHead(seq=head.seq, hex=head.hex, is_in_chain=True),
        }
    )  # fmt: skip


def check_reason(ledger: Ledger, plan: Redacted, *, reason: str) -> None:
    """Refuse a reason that is missing, too long, or that would itself keep the text."""
    if not reason.strip() or len(reason) > MAX_REASON:
        raise InputError(f"a reason has 1 to {MAX_REASON} characters", where="--reason", fix="say why the text must go")
    bodies = [ledger.text(text.digest) or "" for text in plan.texts]
    if any(part in reason for body in bodies for part in (*find_parts(body), body.strip()) if part):
        raise InputError("the reason repeats the text", where="--reason", fix="it is stored, so name the kind of text")


def _find_parts(ledger: Ledger, text: NamedText) -> tuple[str, ...]:
    """The parts of a text that are searched for; of a conversation those of each of its messages."""
    body = ledger.text(text.digest) or ""
    if text.table == Prompt.table:
        messages = [message["content"] for message in json.loads(body)]
        return tuple(dict.fromkeys(part for message in messages for part in find_parts(message)))
    return find_parts(body)


def _refuse_redacted(ledger: Ledger, named: Iterable[NamedText]) -> None:
    for one in find_redactions(ledger, [text.digest for text in named]).values():
        raise InputError(
            f"the text {one.digest} is redacted already, by {one.author} at {one.observed.at or 'a time not known'}: "
            f"{one.reason}",
            where=str(ledger.path),
            fix="leave it out",
        )


def _describe(text: NamedText) -> str:
    return f"{text.table} {text.record_id}: {text.field}"


def _find_sheets(ledger: Ledger, named: Sequence[NamedText]) -> Iterator[StillThere]:
    """The draws and tests whose sheets show a sample or a conversation of these texts."""
    ids = {text.record_id for text in named if text.table in (Sample.table, Prompt.table)}
    for check in list_records(ledger, SpotCheck):
        if any({item.prompt_id, *item.sample_ids} & ids for item in check.items):
            yield StillThere(where=f"sheet {check.sheet_id}", what="a spot check")
    for test in list_records(ledger, EditTest):
        if any({item.prompt_id, *item.sample_ids} & ids for item in (*test.flips, *test.rest)):
            yield StillThere(where=f"sheet {test.sheet_id}", what="a test of an edit")


def _find_models(ledger: Ledger, named: Sequence[NamedText]) -> Iterator[TracedModel]:
    """The models that preferences about these samples, or these conversations, went into."""
    samples = ledger.find(Sample, [text.record_id for text in named if text.table == Sample.table])
    prompts = {text.record_id for text in named if text.table == Prompt.table}
    seen: set[str] = set()
    for prompt_id in dict.fromkeys((*prompts, *(sample.prompt_id for sample in samples.values()))):
        sql = "SELECT id, content FROM preferences WHERE prompt_id = ? ORDER BY seq LIMIT 1000"
        for preference_id, content in ledger.rows(sql, (prompt_id,)):
            if prompt_id not in prompts and not any(key in content for key in samples):
                continue
            for reached in follow_decision(ledger, preference_id, find_fraction=lambda run: None).models:
                if reached.model.card_id not in seen:
                    seen.add(reached.model.card_id)
                    yield reached.model
