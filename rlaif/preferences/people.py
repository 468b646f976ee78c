"""People's labels of a run: read once, matched with its samples, mixed into its preferences.

Brings a round's records to `rlaif.calibration`, and what was fitted there into the round's preferences. Fits nothing
itself and judges nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NotRequired

from typing_extensions import TypedDict

from rlaif.calibration.dawid_skene import MIN_PEOPLE
from rlaif.calibration.fits import Part
from rlaif.calibration.human_rows import human_preferences
from rlaif.calibration.judged import Judged, JudgedPair
from rlaif.calibration.labels import (
    OVERALL,
    Labels,
    check_principles,
    is_preference_file,
    labels_from_preferences,
    read_labels,
)
from rlaif.calibration.match import Matched, Pair, match_labels
from rlaif.calibration.mix import calibrate_judge, describe_mix, relabel
from rlaif.config.calibration import HumanConfig
from rlaif.errors import DataError
from rlaif.files.atomic import digest_file
from rlaif.files.own_files import json_of, read_own
from rlaif.files.row_parts import refuse_part_of_file
from rlaif.files.rows import is_row_file
from rlaif.preferences.export import digest_preferences
from rlaif.preferences.label import LabelRule, PairLabel, combine_labels, find_judges
from rlaif.preferences.pairing import Judged as PairJudged
from rlaif.preferences.pairing import Relabelling, decide_pairs
from rlaif.preferences.read import read_preferences
from rlaif.records import (
    CalibrationCard,
    CalibrationMap,
    Comparison,
    Constitution,
    HumanLabel,
    Panel,
    Preference,
    Prompt,
    Record,
    Sample,
    Tally,
    TransportCheck,
    digest_text,
)

CALIBRATION_FILE = "calibration.json"


class Mix(NamedTuple):
    """What people's labels add to a round's preferences; nothing where there are none."""

    relabelling: Relabelling | None = None
    human: dict[Pair, Preference] = {}
    prompts: tuple[Prompt, ...] = ()
    """Prompts of pairs that the labels brought along."""
    samples: tuple[Sample, ...] = ()
    """Samples of pairs that the labels brought along."""
    records: tuple[Record, ...] = ()
    """All that the stage used: the labels, the calibration, and what was brought along."""
    notes: tuple[str, ...] = ()
    """Sentences for the terminal and the data set's card."""
    calibration: dict[str, Any] | None = None
    """What calibration.json holds; None where there are no labels."""


def load_labels(config: HumanConfig) -> Labels | None:
    """The labels that the configuration names, checked as far as they can be without samples."""
    if config.path is None:
        return None
    labels = _read_labels(config, config.path)
    num_people = len({row.annotator for row in labels.rows})
    if config.combine == "dawid_skene" and num_people < MIN_PEOPLE:
        raise DataError(
            f"the labels are of {num_people} {'person' if num_people == 1 else 'people'}, and who of them errs shows "
            f"only among {MIN_PEOPLE} or more",
            where=config.path,
            fix="leave human.combine at mean, or name the people in a column `annotator`",
        )
    return labels


def _read_labels(config: HumanConfig, name: str) -> Labels:
    path, columns = Path(name), None if config.columns is None else Path(config.columns)
    digest = _digest_labels(name)
    is_file = path.is_file() or is_row_file(path)  # a file that is missing is no hub data set
    if is_file:
        refuse_part_of_file(path, config.split, option="human.split")
    if is_file and (columns is not None or not is_preference_file(path)):
        return read_labels(path, columns_path=columns, digest=digest)
    if columns is not None:
        raise DataError(
            "a column map is for one file of labels, and this is a preference set",
            where=name,
            fix="name a file, or leave the map out: prompt, chosen and rejected are read as they are",
        )
    splits = ("train",) if is_file or config.split is not None else ("train", "test")
    rows = [
        row for split in splits for row in read_preferences(name, split=split, part=config.split, option="human.split")
    ]
    return labels_from_preferences(rows, path=name, digest=digest)


def label_inputs(config: HumanConfig) -> dict[str, dict[str, str]]:
    """Digests of the label files, or of the calibration, to stand among a run's inputs; empty without them.

    Labels that the run asks people for are none of its inputs.
    """
    if config.calibration is not None:
        return {"human_labels": {"calibration": digest_file(Path(config.calibration))}}
    if config.path is None:
        return {}
    digests = {"file": _digest_labels(config.path)}
    if config.split is not None:
        digests["split"] = digest_text(config.split)
    if config.columns is not None and Path(config.columns).is_file():
        digests["columns"] = digest_file(Path(config.columns))
    return {"human_labels": digests}


@dataclass(frozen=True)
class Labelled:
    """What people's labels are matched with: the responses and comparisons of a run's rounds up to this one."""

    constitution: Constitution
    round: int
    samples: Sequence[Sample]
    """This round's samples."""
    pairs: Sequence[tuple[Sample, Sample]]
    """The pairs of this round that are compared."""
    earlier_samples: Sequence[Sample]
    """The samples of the rounds before."""
    earlier_comparisons: Sequence[Comparison]
    """The comparisons of the rounds before."""
    find_samples: Callable[[Iterable[str]], Mapping[str, Sample]]
    """Ids -> those of them that the ledger holds."""


def match(labels: Labels, labelled: Labelled) -> Matched:
    """The labels whose responses and pairs are there. Raises `DataError` where they fit the run in no way."""
    if labels.taken_in:
        return Matched([*labels.taken_in], brought=[], tally=Tally(num_in=len(labels.taken_in)))
    check_principles(labels, labelled.constitution)
    compared = dict.fromkeys((a, b) for c in labelled.earlier_comparisons for a, b in [c.sample_ids])
    return match_labels(
        labels,
        samples=[*labelled.earlier_samples, *labelled.samples],
        pairs=[*compared, *((a.id, b.id) for a, b in labelled.pairs)],
        find=labelled.find_samples,
    )


def mix_labels(
    labels: Labels,
    labelled: Labelled,
    *,
    comparisons: Sequence[Comparison],
    panel: Panel,
    rule: LabelRule,
    config: HumanConfig,
    draw_seed: int | None,
    is_scaled: bool,
) -> Mix:
    """Calibrate by the labels of all rounds so far, and make people's preferences of this round's pairs.

    comparisons: this round's. panel: the judges whose common labels are calibrated. rule: how a comparison counts.
    is_scaled: whether the judges' log-odds claim a probability.
    """
    matched = match(labels, labelled)
    brought = matched.brought if labelled.round == 0 else []  # later rounds have the first one's in their pool
    return mix_matched(
        matched.labels, labelled, brought=[record for four in brought for record in four], tally=matched.tally,
        labels_digest=labels.digest, comparisons=comparisons, panel=panel, rule=rule, config=config,
        draw_seed=draw_seed, is_scaled=is_scaled, transport=labels.transport,
    )  # fmt: skip


def mix_matched(
    labels: Sequence[HumanLabel],
    labelled: Labelled,
    *,
    brought: Sequence[Record],
    tally: Tally,
    labels_digest: str,
    comparisons: Sequence[Comparison],
    panel: Panel,
    rule: LabelRule,
    config: HumanConfig,
    draw_seed: int | None,
    is_scaled: bool,
    transport: TransportCheck | None = None,
) -> Mix:
    """As `mix_labels`, by labels whose samples are known. brought: the records of pairs that the run did not have.

    transport: how the calibration by earlier rounds' labels did on this round's.
    """
    prompts = tuple(record for record in brought if isinstance(record, Prompt))
    samples = tuple(record for record in brought if isinstance(record, Sample))
    texts = {s.id: s.text for s in (*labelled.earlier_samples, *labelled.samples, *samples)}
    judged = find_judged(
        [*labelled.earlier_comparisons, *comparisons],
        constitution=labelled.constitution,
        panel=panel,
        rule=rule,
        draw_seed=draw_seed,
    )
    card = calibrate_judge(
        labels, judged, texts=texts, judge_id=panel.judge_id,
        constitution=labelled.constitution, labels_digest=labels_digest, human_weight=config.weight,
        is_scaled=is_scaled,
    )  # fmt: skip
    if card is not None and transport is not None:
        card = card.changed(transport=transport)
    here = {sample.id for sample in (*labelled.samples, *samples)}
    rows = human_preferences(
        labels,
        weight=config.weight,
        constitution=labelled.constitution,
        round=labelled.round,
        combine=config.combine,
    )
    human = {pair: preference for pair, preference in rows.items() if here.issuperset(pair)}
    return Mix(
        relabelling=make_relabelling(card, texts),
        human=human,
        prompts=prompts,
        samples=samples,
        records=(*brought, *labels, *([card] if card is not None else [])),
        notes=tuple(describe_mix(card, labels=tally, num_human=len(human), weight=config.weight)),
        calibration={
            "inputs": label_inputs(config).get("human_labels", {"drawn": labels_digest}),
            "human_weight": config.weight,
            **({} if config.combine == "mean" else {"combine": config.combine}),
            "labels": {"in": tally.num_in, "kept": tally.kept, "dropped": tally.dropped},
            "human_rows": len(human),
            "calibration": None if card is None else card.model_dump(mode="json"),
        },
    )


class _Calibration(TypedDict):
    """The layout of calibration.json, as far as it is read."""

    inputs: Any
    human_weight: float
    combine: NotRequired[str]
    """How several people's choices were combined, where it was not their mean."""


_CALIBRATION = json_of(_Calibration)


def is_mixed_as_configured(config: HumanConfig, *, calibration_path: Path) -> bool:
    """Whether a round's preferences were made with the labels and the weight that the configuration names.

    calibration_path: the round's calibration.json, whether it is there or not.
    """
    if not config.is_used or not calibration_path.is_file():
        return not config.is_used and not calibration_path.is_file()
    stored = read_own(calibration_path, _CALIBRATION, fix="restore it from a copy, or start a new run")
    wanted = label_inputs(config).get("human_labels")
    has_labels = "drawn" in stored["inputs"] if wanted is None else bool(stored["inputs"] == wanted)
    made = (stored["human_weight"], stored.get("combine", "mean"))
    return has_labels and made == (config.weight, config.combine)


def find_judged(
    comparisons: Sequence[Comparison],
    *,
    constitution: Constitution,
    panel: Panel,
    rule: LabelRule,
    draw_seed: int | None,
) -> Judged:
    """What enough of the judges say together, under each principle as the constitution has it and over all."""
    digests = {principle.id: principle.digest for principle in constitution.principles}
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
            label = combine_labels([labels[judge_id] for judge_id in judges], weights=weights)
            parts = [
                Part(key[1], judge_id, weight / math.fsum(weights), logit)
                for judge_id, weight in zip(judges, weights, strict=True)
                if (logit := labels[judge_id].logit) is not None
            ]
            judged[key] = JudgedPair(*label, parts=tuple(parts) if len(parts) == len(judges) else ())
    whole = decide_pairs(comparisons, constitution=constitution, rule=rule, panel=panel, draw_seed=draw_seed)
    return judged | {(pair, OVERALL): _judged_pair(found) for pair, found in whole.items()}


def _judged_pair(found: PairJudged) -> JudgedPair:
    return JudgedPair(*found.label, parts=found.parts)


def make_relabelling(card: CalibrationCard | None, texts: dict[str, str]) -> Relabelling | None:
    """The calibration as pairing applies it; None where the labels stay as they are. texts: the samples' by id."""
    if card is None or card.map.kind == "identity":
        return None
    return Relabelling(card.id, partial(_relabel, card.map, texts))


def _relabel(map: CalibrationMap, texts: dict[str, str], pair: Pair, found: PairJudged) -> float:
    return relabel(map, _judged_pair(found), first=texts[pair[0]], second=texts[pair[1]])


def _digest_labels(path: str) -> str:
    """The digest of a file, of a folder's files, or of the name of a hub data set."""
    place = Path(path)
    if place.is_file():
        return digest_file(place)
    return digest_preferences(place) if place.is_dir() else digest_text(path)
