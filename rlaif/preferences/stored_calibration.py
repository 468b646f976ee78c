"""A calibration that is fitted once and applied to other runs: fitted to a judged round, checked, and mixed in.

Binds what `rlaif.calibration.artifact` stores to judges, templates and constitution. Asks no judge and writes no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.artifact import BoundJudge, CalibrationFile, read_calibration, refuse_changed
from rlaif.calibration.label_items import read_labelled
from rlaif.calibration.labels import Labels
from rlaif.calibration.mix import calibrate_judge, describe_map
from rlaif.calibration.people import AgreementReport, report_agreement
from rlaif.config.calibration import HumanConfig
from rlaif.config.preferences import PreferencesConfig
from rlaif.config.run import RunConfig
from rlaif.constitution.selection import prepare_constitution
from rlaif.errors import DataError
from rlaif.judging.panel import find_run_judges
from rlaif.judging.stage import JudgedRound
from rlaif.ledger.store import Ledger
from rlaif.preferences.label import LabelRule
from rlaif.preferences.people import Labelled, Mix, find_judged, label_inputs, make_relabelling, match
from rlaif.records import Constitution, Model, Panel, Question, Sample, Tally


class Fitted(NamedTuple):
    """A calibration of a judged round, and what it was fitted to."""

    file: CalibrationFile
    labels: Tally
    """What became of the labels."""
    agreement: AgreementReport
    """People with one another, and the judge with them, before it was calibrated."""


class Bound(NamedTuple):
    """What a calibration must have been fitted to."""

    judges: tuple[BoundJudge, ...]
    constitution: Constitution
    preferences: PreferencesConfig


def find_bound(
    ledger: Ledger,
    *,
    panel: Panel,
    questions: Iterable[Question],
    constitution: Constitution,
    preferences: PreferencesConfig,
) -> Bound:
    """What the labels of a judged round come from; questions: those of the round."""
    templates = {question.judge_id: question.template_digest for question in questions}
    models = ledger.find(Model, [member.judge_id for member in panel.members])
    judges = (
        BoundJudge(
            name=models[member.judge_id].observed.name or member.judge_id,
            judge_id=member.judge_id,
            template_digest=templates.get(member.judge_id),
            weight=member.weight,
        )
        for member in panel.members
    )
    return Bound(tuple(judges), constitution, preferences)


def fit_to_round(judged: JudgedRound, labels: Labels, *, panel: Panel, is_scaled: bool) -> Fitted:
    """The calibration of a judged round by people's labels of its pairs."""
    labelled = Labelled(
        constitution=judged.constitution,
        round=judged.number,
        samples=judged.samples,
        pairs=judged.pairs,
        earlier_samples=[],
        earlier_comparisons=[],
        find_samples=lambda ids: judged.ledger.find(Sample, ids),
    )
    matched = match(labels, labelled)
    items = find_judged(
        judged.comparisons,
        constitution=judged.constitution,
        panel=panel,
        rule=LabelRule(judged.config.preferences, seed=judged.seed, fitted_on=judged.comparisons),
        draw_seed=judged.draw_seed,
    )
    texts = {sample.id: sample.text for sample in judged.samples}
    card = calibrate_judge(
        matched.labels,
        items,
        texts=texts,
        judge_id=panel.judge_id,
        constitution=judged.constitution,
        labels_digest=labels.digest,
        human_weight=judged.config.human.weight,
        is_scaled=is_scaled,
    )
    if card is None:
        raise DataError(
            f"none of the {len(labels.rows)} labels is of a pair that the judge compared in round {judged.number}",
            where=labels.path,
            fix="name the run that was labelled by --run",
        )
    bound = find_bound(
        judged.ledger,
        panel=panel,
        questions=judged.questions,
        constitution=judged.constitution,
        preferences=judged.config.preferences,
    )
    stored = CalibrationFile(
        run=judged.run,
        judges=bound.judges,
        constitution_name=judged.constitution.name,
        constitution_id=judged.constitution.id,
        making=judged.config.preferences.making(),
        card=card,
    )
    agreement = report_agreement(*read_labelled(matched.labels, items, texts=texts), by_prompt=True)
    return Fitted(stored, matched.tally, agreement)


def check_bound(path: str, bound: Bound) -> CalibrationFile:
    """The calibration of a file, refused where it was fitted to something else."""
    found = read_calibration(Path(path))
    refuse_changed(
        found,
        where=path,
        judges=[(judge.name, judge.judge_id) for judge in bound.judges],
        templates=[judge.template_digest for judge in bound.judges],
        weights=[judge.weight for judge in bound.judges],
        constitution_id=bound.constitution.id,
        making=bound.preferences.making(),
    )
    return found


def check_configured(config: RunConfig, constitution: Constitution | None) -> None:
    """Refuse a calibration before a model is loaded: all but the judges themselves is known by then.

    constitution: as its file has it; None where the run was judged already, under what its ledger keeps.
    """
    path = config.human.calibration
    if path is None:
        return
    is_open = constitution is not None
    refuse_changed(
        read_calibration(Path(path)),
        where=path,
        templates=[judge.template.digest for judge in find_run_judges(config.judge)] if is_open else None,
        constitution_id=prepare_constitution(constitution, mode=config.judge.principles).id if constitution else None,
        making=config.preferences.making(),
    )


def apply_calibration(config: HumanConfig, bound: Bound, *, samples: Sequence[Sample]) -> Mix:
    """The stored calibration as a round's preferences use it; nothing where the configuration names none."""
    if config.calibration is None:
        return Mix()
    found = check_bound(config.calibration, bound)
    card = found.card
    return Mix(
        relabelling=make_relabelling(card, {sample.id: sample.text for sample in samples}),
        records=(card,),
        notes=(
            f"calibration of {Path(config.calibration).name}, fitted to {card.num_labels} labels of run {found.run}: "
            f"{describe_map(card.map)}; nobody labelled this run's responses",
        ),
        calibration={
            "inputs": label_inputs(config)["human_labels"],
            "human_weight": config.weight,
            "fitted_on": found.run,
            "human_rows": 0,
            "calibration": card.model_dump(mode="json"),
        },
    )
