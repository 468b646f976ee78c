"""Filtered comparisons -> flat rows: what was compared, what the judge said in both orders, what people said.

Reads the ledger page by page. Redacted texts come as the ledger gives them, `[redacted]`. Writes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from pydantic import Field

from rlaif.audit.traced import TracedHead, name_models
from rlaif.ledger.lineage import find_preferences_of
from rlaif.ledger.queries import ComparisonLine, list_comparisons
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, HumanLabel, Judgement, Message, Preference, Prompt, Sample, Value, Verdict
from rlaif.records.base import REDACTED

PAGE = 500


class Filter(NamedTuple):
    """Which comparisons are meant; a part that is None leaves nothing out."""

    principle: str | None = None
    verdict: Verdict | None = None
    flipped: bool | None = None
    run: str | None = None

    def describe(self) -> str:
        """The filter in words."""
        parts = [
            f"{name} {value}" for name, value in zip(("principle", "verdict", "", "run"), self, strict=True)
            if name and value is not None
        ]  # fmt: skip
        parts += [] if self.flipped is None else ["flipped by the order" if self.flipped else "not flipped"]
        return ", ".join(parts) or "all comparisons"


class Chosen(Protocol):
    """By what comparisons were chosen."""

    def describe(self) -> str:
        """It in words."""
        ...


class PersonsChoice(Value):
    """What one person said of a pair; a is the comparison's first response."""

    annotator: str
    principle_id: str
    choice: Verdict


class DecisionRow(Value):
    """One comparison with the texts it is about."""

    row: int
    """Its place in the ledger."""
    comparison_id: str
    prompt_id: str
    prompt: str
    first_id: str
    second_id: str
    first_text: str
    second_text: str
    first_policy: str
    second_policy: str
    principle_id: str
    principle_text: str
    judge_id: str
    judge: str
    p_first: float
    logit: float | None
    verdict: Verdict
    position_effect: float | None
    flipped: bool | None
    debiased: bool
    verdicts: tuple[str, ...]
    """What each judgement said, in the order in which it was shown the pair."""
    reasons: tuple[str, ...]
    label: float | None
    """The pair's label over all principles and judges, or people's; None where it has none."""
    label_source: str
    preference_id: str
    people: tuple[PersonsChoice, ...]
    messages: tuple[Message, ...] = Field(exclude=True)
    """The prompt turn by turn, for formats that keep turns apart."""


class Rows(NamedTuple):
    """The rows of a filter, and the ledger's head when they were read."""

    rows: list[DecisionRow]
    filter: Chosen
    head: TracedHead


def read_rows(ledger: Ledger, filter: Filter) -> Rows:
    """All comparisons that pass a filter, in the order in which they were made, as they stand at one moment."""
    with ledger.snapshot():
        head = ledger.head()
        found = [row for page in _pages(ledger, filter) for row in make_rows(ledger, page, run=filter.run)]
    return Rows(found, filter, TracedHead(seq=head.seq, hex=head.hex, is_in_chain=True))


def read_chosen(ledger: Ledger, keys: Sequence[tuple[int, str]], *, by: Chosen) -> Rows:
    """The rows of these comparisons, given by row and id, as they stand at one moment."""
    found: list[DecisionRow] = []
    with ledger.snapshot():
        head = ledger.head()
        for start in range(0, len(keys), PAGE):
            page = keys[start : start + PAGE]
            records = ledger.find(Comparison, [key for _, key in page])
            lines = [ComparisonLine(seq, records[key]) for seq, key in page if key in records]
            found += make_rows(ledger, lines)
    return Rows(found, by, TracedHead(seq=head.seq, hex=head.hex, is_in_chain=True))


def make_rows(ledger: Ledger, lines: Sequence[ComparisonLine], *, run: str | None = None) -> Iterator[DecisionRow]:
    """A row for each comparison. run: whose labels are meant, where several runs made preferences of one pair."""
    comparisons = [line.comparison for line in lines]
    prompts = ledger.find(Prompt, [one.prompt_id for one in comparisons])
    samples = ledger.find(Sample, [key for one in comparisons for key in one.sample_ids])
    judgements = ledger.find(Judgement, [key for one in comparisons for key in one.judgement_ids])
    models = name_models(ledger, {*(one.judge_id for one in comparisons), *(one.policy_id for one in samples.values())})
    texts = {digest: ledger.kept_text(digest) for digest in {one.principle.text_digest for one in comparisons}}
    preferences = _match_preferences(find_preferences_of(ledger, [one.id for one in comparisons], run=run))
    people = _find_people(ledger, comparisons)
    for key, one in lines:
        shown = [samples.get(sample_id) for sample_id in one.sample_ids]
        label = preferences.get(one.id)
        said = [judgements[judgement_id] for judgement_id in one.judgement_ids if judgement_id in judgements]
        first, second = (REDACTED if sample is None else sample.text for sample in shown)
        policies = ["" if sample is None else models.get(sample.policy_id, sample.policy_id) for sample in shown]
        yield DecisionRow(
            row=key, comparison_id=one.id, prompt_id=one.prompt_id, prompt=_join(prompts.get(one.prompt_id)),
            first_id=one.sample_ids[0], second_id=one.sample_ids[1], first_text=first, second_text=second,
            first_policy=policies[0], second_policy=policies[1], principle_id=one.principle.id,
            principle_text=texts[one.principle.text_digest] or REDACTED,
            judge_id=one.judge_id, judge=models.get(one.judge_id, one.judge_id), p_first=one.p_first, logit=one.logit,
            verdict=decide(one.p_first), position_effect=one.position_effect, flipped=one.flipped,
            debiased=one.debiased, verdicts=tuple(map(_describe_verdict, said)),
            reasons=tuple(judgement.reason or "" for judgement in said),
            label=None if label is None else label.label, label_source="" if label is None else label.source,
            preference_id="" if label is None else label.id, people=tuple(people[one.prompt_id, *one.sample_ids]),
            messages=_turns(prompts.get(one.prompt_id)),
        )  # fmt: skip


def decide(p_first: float) -> Verdict:
    """The side that a probability takes."""
    return "first" if p_first > 0.5 else "second" if p_first < 0.5 else "tie"


def _pages(ledger: Ledger, filter: Filter) -> Iterator[list[ComparisonLine]]:
    after: int | None = 0
    while after is not None:
        page = list_comparisons(ledger, **filter._asdict(), after=after, limit=PAGE)
        yield page.lines
        after = page.next_key


def _match_preferences(preferences: Iterable[Preference]) -> dict[str, Preference]:
    """The newest label that each comparison went into, by the comparison's id; choices among several have none."""
    pairs = [one for one in preferences if one.kind == "pair"]
    return {comparison_id: one for one in pairs for comparison_id in one.evidence_ids}


def _find_people(
    ledger: Ledger, comparisons: Sequence[Comparison]
) -> Mapping[tuple[str, str, str], list[PersonsChoice]]:
    """What people said of the pairs, turned to the comparisons' order; a label that was replaced does not count."""
    found: dict[tuple[str, str, str], list[PersonsChoice]] = defaultdict(list)
    labels: dict[str, HumanLabel] = {}
    sql = "SELECT id FROM human_labels WHERE prompt_id = ? ORDER BY seq LIMIT 1000"
    for prompt_id in dict.fromkeys(one.prompt_id for one in comparisons):
        labels |= ledger.find(HumanLabel, [key for (key,) in ledger.rows(sql, (prompt_id,))])
    replaced = {label.replaces for label in labels.values()}
    turned: dict[Verdict, Verdict] = {"first": "second", "second": "first", "tie": "tie"}
    for label in labels.values():
        if label.id in replaced or len(label.sample_ids) != 2:
            continue
        first, second = sorted(label.sample_ids)
        choice = label.choice if label.sample_ids == (first, second) else turned[label.choice]
        found[label.prompt_id, first, second].append(
            PersonsChoice(annotator=label.annotator, principle_id=label.principle_id, choice=choice)
        )
    return found


def _turns(prompt: Prompt | None) -> tuple[Message, ...]:
    return (Message(role="user", content=REDACTED),) if prompt is None else prompt.messages


def _join(prompt: Prompt | None) -> str:
    """A conversation as one text: a single turn as it is, several with their roles."""
    if prompt is None:
        return REDACTED
    if len(prompt.messages) == 1:
        return prompt.messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in prompt.messages)


def _describe_verdict(judgement: Judgement) -> str:
    if judgement.score is not None:
        return f"score {judgement.score:g}"
    return judgement.verdict or f"best first: {', '.join(str(place + 1) for place in judgement.ranking or ())}"
