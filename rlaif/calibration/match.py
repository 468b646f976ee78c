"""Labels as their file has them -> human labels of samples that exist.

Ids must be known; texts are searched among the run's responses, and only a preference set may bring new pairs. Reads no
file, and finds samples of other runs only through the function that it is given.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.labels import LabelRow, Labels, Texts, doubled
from rlaif.errors import DataError
from rlaif.records import HumanLabel, Model, ModelObserved, Prompt, Sample, Tally
from rlaif.stats.logits import canonical_pair

Pair = tuple[str, str]
"""Two sample ids, in canonical order: sorted."""


class Matched(NamedTuple):
    labels: list[HumanLabel]
    brought: list[tuple[Prompt, Model, Sample, Sample]]
    """Pairs that the run did not have, each in the order in which it was shown."""
    tally: Tally
    """Labels; dropped: `other_samples` (known, but not this run's), `identical` (both responses are one text)."""


def match_labels(
    labels: Labels,
    *,
    samples: Sequence[Sample],
    pairs: Sequence[tuple[str, str]],
    find: Callable[[Collection[str]], Mapping[str, Sample]],
) -> Matched:
    """Labels of the run's samples, with pairs that a preference set brings, and a tally.

    samples: the run's. pairs: those that the run compares, as sample ids. find: samples of other runs, by id.

    Where several of the pairs have the same two texts, a person's first label of these texts goes to the first
    of them, the second to the second.
    """
    matcher = _Matcher(labels, samples, pairs)
    if any(not isinstance(row.pair, Texts) for row in labels.rows):
        matcher.know(find)
    found = [(row, matcher.find(row)) for row in labels.rows]
    _refuse_unknown(labels, [row for row, pair in found if pair == "unknown"], matcher)
    dropped = Counter({"identical": labels.num_identical})
    dropped["other_samples"] = sum(pair == "elsewhere" for _, pair in found)
    matched = [_human_label(row, pair) for row, pair in found if not isinstance(pair, str)]
    if not matched:
        raise DataError(
            f"none of the {len(labels.rows)} labels is of this run's samples",
            where=labels.path,
            fix="name the run that was labelled by --run, or start one with its config and seed",
        )
    tally = Tally(num_in=len(labels.rows) + labels.num_identical, dropped={k: v for k, v in dropped.items() if v})
    return Matched(matched, list(matcher.brought.values()), tally)


class _Matcher:
    """The samples that are known, and which of them a row names."""

    def __init__(self, labels: Labels, samples: Sequence[Sample], pairs: Sequence[tuple[str, str]]) -> None:
        self.labels = labels
        self.samples = {sample.id: sample for sample in samples}
        self.elsewhere: Mapping[str, Sample] = {}
        self.brought: dict[Pair, tuple[Prompt, Model, Sample, Sample]] = {}
        self._by_text: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for sample in samples:
            self._by_text[sample.prompt_id, sample.text.strip()].append(sample)
        self._compared: dict[tuple[str, frozenset[str]], list[Pair]] = defaultdict(list)
        for a, b in pairs:
            if a in self.samples and b in self.samples:
                texts = frozenset(self.samples[i].text.strip() for i in (a, b))
                self._compared[self.samples[a].prompt_id, texts].append(canonical_pair(a, b))
        self._taken: dict[tuple[str, str, str, frozenset[str]], list[LabelRow]] = defaultdict(list)
        self._source = Path(labels.path).name

    def know(self, find: Callable[[Collection[str]], Mapping[str, Sample]]) -> None:
        """Look up the samples that the labels name and the run does not have."""
        named = {i for row in self.labels.rows if not isinstance(row.pair, Texts) for i in row.pair}
        self.elsewhere = find(named - self.samples.keys())

    def find(self, row: LabelRow) -> tuple[Sample, Sample] | str:
        """The samples in the order shown, or `unknown`, or `elsewhere`."""
        return self._by_texts(row, row.pair) if isinstance(row.pair, Texts) else self._by_ids(row, row.pair)

    def _by_ids(self, row: LabelRow, ids: tuple[str, str]) -> tuple[Sample, Sample] | str:
        found = [self.samples.get(i) or self.elsewhere.get(i) for i in ids]
        first, second = found
        if first is None or second is None:
            return "unknown"
        if first.prompt_id != second.prompt_id:
            raise DataError("the two samples answer different prompts", where=row.where, fix="correct the ids")
        if row.prompt_id not in (None, first.prompt_id):
            raise DataError(
                f"the samples answer the prompt {first.prompt_id}, not {row.prompt_id}",
                where=row.where,
                fix="correct the ids",
            )
        return (first, second) if all(i in self.samples for i in ids) else "elsewhere"

    def _by_texts(self, row: LabelRow, texts: Texts) -> tuple[Sample, Sample] | str:
        prompt_id = texts.prompt.id
        wanted = [text.strip() for text in texts.responses]
        key = (prompt_id, frozenset(wanted))
        candidates = self._compared.get(key) or self._uncompared(prompt_id, wanted)
        if not candidates:
            return self._bring(texts) if self.labels.brings_pairs else "unknown"
        taken = self._taken[row.annotator, row.principle_id, *key]
        if len(taken) >= len(candidates) and not self.labels.brings_pairs:
            raise doubled(row, taken[0])
        ids = candidates[len(taken) % len(candidates)]
        taken.append(row)
        first, second = (self.samples[i] for i in ids)
        return (first, second) if first.text.strip() == wanted[0] else (second, first)

    def _uncompared(self, prompt_id: str, texts: Sequence[str]) -> list[Pair]:
        found = [self._by_text.get((prompt_id, text), []) for text in texts]
        return [canonical_pair(found[0][0].id, found[1][0].id)] if all(found) and texts[0] != texts[1] else []

    def _bring(self, texts: Texts) -> tuple[Sample, Sample]:
        model = Model(engine="recorded", weights=self._source, observed=ModelObserved(name=self._source))
        first, second = (
            Sample(prompt_id=texts.prompt.id, policy_id=model.id, finish_reason="recorded", text=text)
            for text in texts.responses
        )
        self.brought.setdefault(canonical_pair(first.id, second.id), (texts.prompt, model, first, second))
        return first, second

    def describe_unknown(self, row: LabelRow) -> str:
        """The part of a row that is not known: its prompt, its responses or a sample's id."""
        if isinstance(row.pair, Texts):
            known = any(row.pair.prompt.id == prompt_id for prompt_id, _ in self._by_text)
            return "its prompt is known, its responses are not" if known else "its prompt is not this run's"
        return next(i for i in row.pair if i not in self.samples and i not in self.elsewhere)


def _refuse_unknown(labels: Labels, unknown: Sequence[LabelRow], matcher: _Matcher) -> None:
    if not unknown:
        return
    fix = "take the ids from the run that was labelled, and use its ledger"
    if isinstance(unknown[0].pair, Texts):
        fix = "give prompt and responses exactly as the run has them"
    what = matcher.describe_unknown(unknown[0])
    raise DataError(
        f"{len(unknown)} of {len(labels.rows)} labels name samples that nobody has: {what}",
        where=f"first at {unknown[0].where}",
        fix=fix,
    )


def _human_label(row: LabelRow, shown: tuple[Sample, Sample]) -> HumanLabel:
    return HumanLabel(
        annotator=row.annotator,
        prompt_id=shown[0].prompt_id,
        sample_ids=tuple(sample.id for sample in shown),
        principle_id=row.principle_id,
        choice=row.choice,
        seconds=row.seconds,
        inclusion_probability=row.inclusion_probability,
        simulated=row.simulated,
        note=row.note,
    )
