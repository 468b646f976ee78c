"""People's labels of a run: read once, matched with its samples, mixed into its preferences.

What the pipeline calls around `rlaif.calibration`: it brings the run's records to it and its results into stage
4_preferences. Fits nothing itself and judges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rlaif.calibration.labels import (
    OVERALL,
    Labels,
    check_principles,
    is_preference_file,
    labels_from_preferences,
    read_labels,
)
from rlaif.calibration.match import Matched, Pair, match_labels
from rlaif.calibration.mix import (
    Judged,
    JudgedPair,
    calibrate_judge,
    describe_mix,
    human_preferences,
    relabel,
)
from rlaif.config.calibration import HumanLabelsConfig
from rlaif.console import say
from rlaif.errors import DataError, RunFolderError
from rlaif.files.atomic import digest_file, write_atomically
from rlaif.files.row_parts import refuse_part_of_file
from rlaif.files.rows import is_row_file
from rlaif.judging.modes import MODES
from rlaif.preferences.combine import PairLabel, combine_labels, find_judges
from rlaif.preferences.export import digest_preferences
from rlaif.preferences.pairing import Relabelling, label_pairs
from rlaif.preferences.read import read_preferences
from rlaif.preferences.rule import LabelRule
from rlaif.records import (
    CalibrationCard,
    CalibrationMap,
    Comparison,
    Panel,
    Preference,
    Prompt,
    Question,
    Record,
    Sample,
    digest_text,
)
from rlaif.run.folder import RunFolder

if TYPE_CHECKING:
    from rlaif.run.work import Work

R = TypeVar("R", bound=Record)
STAGE = "4_preferences"
CALIBRATION_FILE = "calibration.json"


class Mix(NamedTuple):
    """What people's labels add to a round's preferences; nothing where there are none."""

    relabelling: Relabelling | None = None
    human: dict[Pair, Preference] = {}
    prompts: tuple[Prompt, ...] = ()
    """Of pairs that the labels brought along, as the samples."""
    samples: tuple[Sample, ...] = ()
    records: tuple[Record, ...] = ()
    """All that the stage used: the labels, the calibration, and what was brought along."""
    notes: tuple[str, ...] = ()
    """For the data set's card."""


def load_labels(config: HumanLabelsConfig) -> Labels | None:
    """The labels that the configuration names, checked as far as they can be without samples."""
    if config.path is None:
        return None
    path, columns = Path(config.path), None if config.columns is None else Path(config.columns)
    digest = _digest_labels(config.path)
    is_file = path.is_file() or is_row_file(path)  # a file that is missing is no hub data set
    if is_file:
        refuse_part_of_file(path, config.split, option="human_labels.split")
    if is_file and (columns is not None or not is_preference_file(path)):
        return read_labels(path, columns_path=columns, digest=digest)
    if columns is not None:
        raise DataError(
            "a column map is for one file of labels, and this is a preference set",
            where=config.path,
            fix="name a file, or leave the map out: prompt, chosen and rejected are read as they are",
        )
    splits = ("train",) if is_file or config.split is not None else ("train", "test")
    rows = [
        row
        for split in splits
        for row in read_preferences(config.path, split=split, part=config.split, option="human_labels.split")
    ]
    return labels_from_preferences(rows, path=config.path, digest=digest)


def label_inputs(config: HumanLabelsConfig) -> dict[str, dict[str, str]]:
    """Digests of the label files, to stand among a run's inputs; empty without labels."""
    if config.path is None:
        return {}
    digests = {"file": _digest_labels(config.path)}
    if config.split is not None:
        digests["split"] = digest_text(config.split)
    if config.columns is not None and Path(config.columns).is_file():
        digests["columns"] = digest_file(Path(config.columns))
    return {"human_labels": digests}


def refuse_left_out(run: RunFolder, config: HumanLabelsConfig) -> None:
    """A run whose preferences were made with labels does not go on as if it had none."""
    before = run.config["config"].get("human_labels", {}).get("path")
    if before is not None and config.path is None and any(run.path.glob(f"round_*/{STAGE}")):
        raise RunFolderError(
            f"the preferences of this run were made with the human labels of {before}",
            where=str(run.path),
            fix="give them again by --human-labels, or start a new run",
        )


def check_labels(
    work: Work,
    samples: Iterable[Sample] = (),
    *,
    pairs: Iterable[tuple[Sample, Sample]] = (),
) -> None:
    """Refuse labels that cannot be used, before the judge is asked; with samples also those that name none of them."""
    if work.labels is None or work.is_done(STAGE):
        return
    check_principles(work.labels, work.constitution)
    given = list(samples)
    if given:
        _match(work, work.labels, given, pairs)


def check_made(work: Work) -> None:
    """As `check_labels`, for a run whose samples and comparisons are made."""
    if work.labels is not None:
        samples = work.used("2_samples", Sample)
        check_principles(work.labels, work.constitution)
        _match(work, work.labels, samples, find_asked_pairs(work, samples))


def mix_labels(
    work: Work,
    samples: Sequence[Sample],
    comparisons: Sequence[Comparison],
    *,
    pairs: Sequence[tuple[Sample, Sample]],
    panel: Panel,
) -> Mix:
    """Calibrate by the labels of all rounds so far, and make people's preferences of this round's pairs.

    panel: whose common labels are calibrated.
    """
    labels = work.labels
    (work.folder(STAGE) / CALIBRATION_FILE).unlink(missing_ok=True)
    if labels is None:
        return Mix()
    check_principles(labels, work.constitution)
    matched = _match(work, labels, samples, pairs)
    brought = matched.brought if work.round == 0 else []  # later rounds have the first one's in their pool
    known = [*_earlier(work, "2_samples", Sample), *samples]
    texts = {sample.id: sample.text for sample in known} | {s.id: s.text for _, _, *two in brought for s in two}
    rule = LabelRule(work.config.preferences, seed=work.seed, fitted_on=comparisons)
    judged = _find_judged(work, [*_earlier(work, "3_judgements", Comparison), *comparisons], panel=panel, rule=rule)
    config = work.config.human_labels
    card = calibrate_judge(
        matched.labels, judged, texts=texts, judge_id=panel.judge_id,
        constitution=work.constitution, labels_digest=labels.digest, human_weight=config.weight,
    )  # fmt: skip
    here = {sample.id for sample in samples} | {sample.id for _, _, *two in brought for sample in two}
    rows = human_preferences(matched.labels, weight=config.weight, constitution=work.constitution, round=work.round)
    human = {pair: preference for pair, preference in rows.items() if here.issuperset(pair)}
    lines = tuple(describe_mix(card, labels=matched.tally, num_human=len(human), weight=config.weight))
    for line in lines:
        say(line)
    _write_calibration(work, card, matched=matched, num_human=len(human))
    return Mix(
        relabelling=_relabelling(card, texts),
        human=human,
        prompts=tuple(prompt for prompt, *_ in brought),
        samples=tuple(sample for _, _, *two in brought for sample in two),
        records=(
            *(record for four in brought for record in four),
            *matched.labels,
            *([card] if card is not None else []),
        ),
        notes=lines,
    )


def is_mixed_as_configured(work: Work) -> bool:
    """Whether the round's preferences were made with the labels and the weight that the configuration names."""
    path = work.run.stage_dir(work.round, STAGE) / CALIBRATION_FILE
    if work.labels is None or not path.is_file():
        return work.labels is None and not path.is_file()
    stored = json.loads(path.read_text(encoding="utf-8"))
    wanted = label_inputs(work.config.human_labels)["human_labels"]
    return bool((stored["inputs"], stored["human_weight"]) == (wanted, work.config.human_labels.weight))


def find_asked_pairs(work: Work, samples: Iterable[Sample]) -> list[tuple[Sample, Sample]]:
    """The pairs that the judge was asked about, in the order in which it was."""
    questions = work.used("3_judgements", Question)
    if any(MODES[question.mode].shows != "two" for question in questions):
        return work.draw_pairs(samples).pairs
    by_id = {sample.id: sample for sample in samples}
    asked = dict.fromkeys(tuple(sorted(question.sample_ids)) for question in questions)
    return [(by_id[a], by_id[b]) for a, b in asked]


def _match(work: Work, labels: Labels, samples: Sequence[Sample], pairs: Iterable[tuple[Sample, Sample]]) -> Matched:
    earlier = _earlier(work, "2_samples", Sample)
    compared = [tuple(c.sample_ids) for c in _earlier(work, "3_judgements", Comparison)]
    return match_labels(
        labels,
        samples=[*earlier, *samples],
        pairs=[*dict.fromkeys((a, b) for a, b in compared), *((a.id, b.id) for a, b in pairs)],
        find=lambda ids: work.ledger.find(Sample, ids),
    )


def _earlier(work: Work, stage: str, kind: type[R]) -> list[R]:
    """What the rounds before this one used."""
    return [r for round in range(work.round) for r in work.used(stage, kind, round=round)]


def _find_judged(work: Work, comparisons: Sequence[Comparison], *, panel: Panel, rule: LabelRule) -> Judged:
    """What enough of the judges say together, under each principle as the constitution has it and over all."""
    digests = {principle.id: principle.digest for principle in work.constitution.principles}
    found: dict[tuple[Pair, str], dict[str, PairLabel]] = {}
    for c in comparisons:
        if digests.get(c.principle.id) == c.principle.text_digest:
            counted = rule.score(c)
            label = PairLabel(counted.p_first, counted.logit)
            found.setdefault((c.sample_ids, c.principle.id), {})[c.judge_id] = label
    judged: dict[tuple[Pair, str], JudgedPair] = {}
    for key, labels in found.items():
        judges = find_judges(panel, labels, min_judges=rule.config.min_judges)
        if not isinstance(judges, str):
            weights = [panel.weights[judge_id] for judge_id in judges]
            judged[key] = JudgedPair(*combine_labels([labels[judge_id] for judge_id in judges], weights=weights))
    whole = label_pairs(comparisons, constitution=work.constitution, rule=rule, panel=panel, draw_seed=work.draw_seed)
    return judged | {(pair, OVERALL): JudgedPair(label.p_first, label.logit) for pair, label in whole.items()}


def _relabelling(card: CalibrationCard | None, texts: dict[str, str]) -> Relabelling | None:
    if card is None or card.map.kind == "identity":
        return None
    return Relabelling(card.id, partial(_relabel, card.map, texts))


def _relabel(map: CalibrationMap, texts: dict[str, str], pair: Pair, label: PairLabel) -> float:
    return relabel(map, JudgedPair(*label), first=texts[pair[0]], second=texts[pair[1]])


def _write_calibration(work: Work, card: CalibrationCard | None, *, matched: Matched, num_human: int) -> None:
    stored = {
        "inputs": label_inputs(work.config.human_labels)["human_labels"],
        "human_weight": work.config.human_labels.weight,
        "labels": {"in": matched.tally.num_in, "kept": matched.tally.kept, "dropped": matched.tally.dropped},
        "human_rows": num_human,
        "calibration": None if card is None else card.model_dump(mode="json"),
    }
    write_atomically(work.folder(STAGE) / CALIBRATION_FILE, json.dumps(stored, indent=2))


def _digest_labels(path: str) -> str:
    """Of a file its own, of a folder its files', of a hub data set its name's."""
    place = Path(path)
    if place.is_file():
        return digest_file(place)
    return digest_preferences(place) if place.is_dir() else digest_text(path)
