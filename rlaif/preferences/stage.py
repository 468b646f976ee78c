"""The stage `preferences`: one soft label for each pair over all principles and judges, people's labels mixed in.

Takes values out of the run, hands them to pairing, people and export, and closes the stage. Also opens a judged run
for `rlaif constitution diff`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.artifact import refuse_existing, write_calibration
from rlaif.calibration.labels import Labels, check_principles
from rlaif.config.calibration import HumanConfig
from rlaif.config.run import RunConfig
from rlaif.console import say
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.render import JudgeTemplate
from rlaif.errors import RunFolderError
from rlaif.files.atomic import write_atomically
from rlaif.judging.bench import Bench
from rlaif.judging.failures import make_failed_error
from rlaif.judging.judge import Judging
from rlaif.judging.modes import MODES
from rlaif.judging.panel import find_panel
from rlaif.judging.recorded import Recorded, describe_unread, import_recorded
from rlaif.judging.stage import find_asked_pairs, find_judge_name, finish_judging, open_judged
from rlaif.ledger.opening import can_write
from rlaif.preferences.edit_diff import Diff, diff_judged
from rlaif.preferences.export import ExportedPreferences, export_preferences
from rlaif.preferences.label import LabelRule
from rlaif.preferences.pairing import Pairing, pair_comparisons
from rlaif.preferences.people import (
    CALIBRATION_FILE,
    Labelled,
    Mix,
    is_mixed_as_configured,
    load_labels,
    match,
    mix_labels,
)
from rlaif.preferences.stored_calibration import Bound, Fitted, apply_calibration, check_bound, find_bound, fit_to_round
from rlaif.records import Comparison, FailedJudgement, Panel, Prompt, Question, Sample, Tally
from rlaif.records.base import REDACTED
from rlaif.run.book import Book
from rlaif.run.folder import RunFolder, open_run
from rlaif.run.round import Round
from rlaif.run.stages import JUDGEMENTS, PREFERENCES, PROMPTS, REWARD_MODEL, SAMPLES
from rlaif.run.state import ledger_path_of

DATASET = "dataset"
"""Folder of the data set in the stage's folder."""


def pair_preferences(
    round: Round,
    book: Book,
    bench: Bench,
    *,
    prompts: Sequence[Prompt],
    samples: Sequence[Sample],
    pairs: Sequence[tuple[Sample, Sample]],
    comparisons: Sequence[Comparison],
    labels: Labels | None,
) -> None:
    """The round's preferences, exported as a data set. pairs: the pairs that were judged."""
    if book.is_done(PREFERENCES, round=round.number):
        return
    panel = _find_panel(round, book, bench, comparisons)
    round.ledger.append([panel] if len(panel.members) > 1 else [])
    labelled = None if labels is None else _find_labelled(round, book, samples=samples, pairs=pairs)
    if round.config.human.calibration is None:
        mix = _mix(round, bench, labels, labelled, comparisons=comparisons, panel=panel)
    else:
        bound = _find_bound(round, book, panel=panel)
        mix = apply_calibration(round.config.human, bound, samples=samples)
    _keep(round, mix)
    redacted = frozenset(_find_redacted((*prompts, *mix.prompts), (*samples, *mix.samples)))
    pairing = pair_round(round, mix, comparisons=comparisons, pairs=pairs, panel=panel, redacted=redacted)
    if not pairing.preferences and not round.is_recorded:
        _refuse_all_failed(round, book, pairing.tally)
    exported = export_round(
        round,
        mix,
        pairing,
        prompts=prompts,
        samples=samples,
        judge_name=find_judge_name(round, bench, comparisons),
        out_dir=round.folder(PREFERENCES) / DATASET,
    )
    book.finish(
        PREFERENCES,
        round=round.number,
        tally=pairing.tally,
        unit="choices" if round.config.preferences.kind == "choice" else None,
        records=[*pairing.preferences, *mix.records],
        constitution_id=round.constitution.id,
    )
    say(f"preferences: {exported.num_train} to train on, {exported.num_test} held out, in {exported.path}")
    say("to load it: datasets.load_dataset, pandas.read_parquet and pyarrow take that folder; its card is beside it")


def pair_round(
    round: Round,
    mix: Mix,
    *,
    comparisons: Sequence[Comparison],
    pairs: Sequence[tuple[Sample, Sample]],
    panel: Panel,
    redacted: frozenset[str] = frozenset(),
) -> Pairing:
    """The round's preferences, decided and neither stored nor exported. redacted: ids of prompts and samples."""
    return pair_comparisons(
        comparisons,
        constitution=round.constitution,
        config=round.config.preferences,
        round=round.number,
        pairs=pairs,
        relabelling=mix.relabelling,
        human=mix.human,
        panel=panel,
        draw_seed=round.draw_seed,
        seed=round.seed,
        redacted=redacted,
    )


def export_round(
    round: Round,
    mix: Mix,
    pairing: Pairing,
    *,
    prompts: Sequence[Prompt],
    samples: Sequence[Sample],
    judge_name: str,
    out_dir: Path,
) -> ExportedPreferences:
    """The round's preferences as a data set in `out_dir`."""
    return export_preferences(
        pairing.preferences,
        prompts={prompt.id: prompt for prompt in (*prompts, *mix.prompts)},
        samples={sample.id: sample for sample in (*samples, *mix.samples)},
        judge_name=judge_name,
        constitution=round.constitution,
        out_dir=out_dir,
        test_fraction=round.config.prompts.test_fraction,
        tally=pairing.tally,
        notes=[*round.config.preferences.describe_making(), *mix.notes],
    )


def _find_redacted(prompts: Sequence[Prompt], samples: Sequence[Sample]) -> Iterator[str]:
    """The prompts and samples whose text somebody had removed from the ledger since."""
    yield from (prompt.id for prompt in prompts if any(turn.content == REDACTED for turn in prompt.messages))
    yield from (sample.id for sample in samples if sample.text == REDACTED)


def _refuse_all_failed(round: Round, book: Book, tally: Tally) -> None:
    """Raise with the judge's words where every pair was dropped because its questions failed."""
    failed = book.used(JUDGEMENTS, FailedJudgement, round=round.number)
    if failed and tally.num_in and tally.dropped.get("failed_judgement", 0) == tally.num_in:
        num_questions = len(book.used(JUDGEMENTS, Question, round=round.number))
        raise make_failed_error(failed, num_questions=num_questions, where=str(round.folder(JUDGEMENTS)))


def is_mixing_due(round: Round, book: Book) -> bool:
    """Whether a judged round has no reward model yet, and no preferences with the labels that the options name."""
    if book.is_done(REWARD_MODEL, round=round.number) or not book.is_done(JUDGEMENTS, round=round.number):
        return False
    calibration_path = round.find_folder(PREFERENCES) / CALIBRATION_FILE
    is_done = book.is_done(PREFERENCES, round=round.number)
    return not (is_done and is_mixed_as_configured(round.config.human, calibration_path=calibration_path))


def mix_labels_late(round: Round, book: Book, bench: Bench, *, asked: Labels | None = None) -> None:
    """Make the preferences again from what the judge said, where labels came after it.

    asked: labels that the run asked people for; None: those that the options name.
    """
    if not is_mixing_due(round, book):
        return
    if book.is_done(PREFERENCES, round=round.number):
        if (path := round.config.human.calibration) is not None:  # refused before anything is undone
            comparisons = book.used(JUDGEMENTS, Comparison, round=round.number)
            check_bound(path, _find_bound(round, book, panel=_find_panel(round, book, bench, comparisons)))
        book.make_again(PREFERENCES, round=round.number)
    samples = book.used(SAMPLES, Sample, round=round.number)
    questions = book.used(JUDGEMENTS, Question, round=round.number)
    pair_preferences(
        round,
        book,
        bench,
        prompts=book.used(PROMPTS, Prompt, round=round.number),
        samples=samples,
        pairs=find_asked_pairs(round, bench, questions, samples),
        comparisons=book.used(JUDGEMENTS, Comparison, round=round.number),
        labels=load_labels(round.config.human) if asked is None else asked,
    )


class Imported(NamedTuple):
    """A round whose responses and verdicts were brought along, judged; and people's labels, where a file has them."""

    round: Round
    recorded: Recorded
    labels: Labels | None


def import_verdicts(round: Round, book: Book, *, samples: Path, judgements: Path, columns: Path) -> Imported:
    """Make the records and folders of a judged round of responses and verdicts that already exist."""
    is_given = round.config.constitution != RunConfig().constitution
    recorded = import_recorded(samples, judgements, columns, constitution=round.constitution if is_given else None)
    if unread := describe_unread(recorded):
        say(unread)
    round = replace(round, constitution=recorded.constitution)
    round.ledger.append([recorded.judge, *recorded.policies, recorded.constitution])
    round.ledger.put_texts(principle.text for principle in recorded.constitution.principles)
    labels = load_labels(round.config.human)
    check_labels(round, book, labels, samples=recorded.samples, pairs=recorded.pairs)
    _finish_recorded(round, book, recorded)
    return Imported(round, recorded, labels)


def _finish_recorded(round: Round, book: Book, recorded: Recorded) -> None:
    """Close the stages that the recorded files fill."""
    if not book.is_done(PROMPTS, round=round.number):
        tally = Tally(num_in=len(recorded.prompts))
        book.finish(PROMPTS, round=round.number, tally=tally, records=recorded.prompts)
    if not book.is_done(SAMPLES, round=round.number):
        book.finish(SAMPLES, round=round.number, tally=recorded.sample_tally, unit="rows", records=recorded.samples)
    if not book.is_done(JUDGEMENTS, round=round.number):
        judging = Judging(
            recorded.questions, recorded.judgements, recorded.failed, recorded.comparisons,
            recorded.judgement_tally,
        )  # fmt: skip
        finish_judging(round, book, judging)


def check_labels(
    round: Round,
    book: Book,
    labels: Labels | None,
    *,
    samples: Sequence[Sample] = (),
    pairs: Sequence[tuple[Sample, Sample]] = (),
) -> None:
    """Refuse labels that cannot be used, before the judge is asked; with samples also those that name none of them."""
    if labels is None or book.is_done(PREFERENCES, round=round.number):
        return
    check_principles(labels, round.constitution)
    if samples:
        match(labels, _find_labelled(round, book, samples=samples, pairs=pairs))


def check_late_labels(round: Round, book: Book, bench: Bench, labels: Labels | None) -> None:
    """Refuse labels that cannot be used, for a round whose samples and comparisons are made."""
    if labels is not None:
        samples = book.used(SAMPLES, Sample, round=round.number)
        questions = book.used(JUDGEMENTS, Question, round=round.number)
        pairs = find_asked_pairs(round, bench, questions, samples)
        match(labels, _find_labelled(round, book, samples=samples, pairs=pairs))


def refuse_left_out(run: RunFolder, config: HumanConfig) -> None:
    """Refuse to continue a run without its labels, or its calibration, once its preferences were made with them."""
    before = run.config["config"].get("human", {})
    if config.is_used or not any(run.path.glob(f"round_*/{PREFERENCES.folder}")):
        return
    for key, noun, option in (
        ("path", "human labels of {}", "--human-labels"),
        ("num_items", "labels of {} pairs that people were asked about", "--set human.num_items=N"),
        ("calibration", "calibration of {}", "--set human.calibration=FILE"),
    ):
        is_mixed = key != "num_items" or any(run.path.glob(f"round_*/{PREFERENCES.folder}/{CALIBRATION_FILE}"))
        if before.get(key) and is_mixed:
            raise RunFolderError(
                f"the preferences of this run were made with the {noun.format(before[key])}",
                where=str(run.path),
                fix=f"give them again by {option}, or start a new run",
            )


def _find_labelled(
    round: Round, book: Book, *, samples: Sequence[Sample], pairs: Sequence[tuple[Sample, Sample]]
) -> Labelled:
    return Labelled(
        constitution=round.constitution,
        round=round.number,
        samples=samples,
        pairs=pairs,
        earlier_samples=book.used_before(SAMPLES, Sample, round=round.number),
        earlier_comparisons=book.used_before(JUDGEMENTS, Comparison, round=round.number),
        find_samples=lambda ids: round.ledger.find(Sample, ids),
    )


def claims_probability(templates: Iterable[JudgeTemplate], *, is_recorded: bool) -> bool:
    """Whether the judges' log-odds claim a probability; those of contrasts alone have a scale that means nothing."""
    return is_recorded or not all(MODES[template.kind].words.scale for template in templates)


def _mix(
    round: Round,
    bench: Bench,
    labels: Labels | None,
    labelled: Labelled | None,
    *,
    comparisons: Sequence[Comparison],
    panel: Panel,
) -> Mix:
    """What the labels add."""
    if labels is None or labelled is None:
        return Mix()
    return mix_labels(
        labels,
        labelled,
        comparisons=comparisons,
        panel=panel,
        rule=LabelRule(round.config.preferences, seed=round.seed, fitted_on=comparisons),
        config=round.config.human,
        draw_seed=round.draw_seed,
        is_scaled=claims_probability((judge.template for judge in bench.judges), is_recorded=round.is_recorded),
    )


def _keep(round: Round, mix: Mix) -> None:
    """Say what people's labels add, and write it to calibration.json."""
    calibration_path = round.folder(PREFERENCES) / CALIBRATION_FILE
    calibration_path.unlink(missing_ok=True)
    for line in mix.notes:
        say(line)
    if mix.calibration is not None:
        write_atomically(calibration_path, json.dumps(mix.calibration, indent=2))


def _find_panel(round: Round, book: Book, bench: Bench, comparisons: Sequence[Comparison]) -> Panel:
    questions = book.used(JUDGEMENTS, Question, round=round.number) if len(bench.judges) > 1 else []
    return find_panel(bench.judges, questions=questions, comparisons=comparisons, is_recorded=round.is_recorded)


def _find_bound(round: Round, book: Book, *, panel: Panel) -> Bound:
    return find_bound(
        round.ledger,
        panel=panel,
        questions=book.used(JUDGEMENTS, Question, round=round.number),
        constitution=round.constitution,
        preferences=round.config.preferences,
    )


def calibrate_run(config: HumanConfig, *, run: str | None, runs_dir: Path, out: Path) -> Fitted:
    """The calibration of a run's newest judged round by people's labels, written to a new file.

    run: the name of the run, or None for the newest one.
    """
    refuse_existing(out)
    labels = load_labels(config)
    if labels is None:
        raise ValueError("there is nothing to calibrate by")
    with open_judged(runs_dir, run, read_only=True) as (judged, bench):
        check_principles(labels, judged.constitution)
        panel = find_panel(
            bench.judges, questions=judged.questions, comparisons=judged.comparisons, is_recorded=judged.is_recorded
        )
        is_scaled = claims_probability((judge.template for judge in bench.judges), is_recorded=judged.is_recorded)
        fitted = fit_to_round(judged, labels, panel=panel, is_scaled=is_scaled)
    write_calibration(out, fitted.file)
    return fitted


def diff_constitutions(
    old: str | None,
    new: str | None,
    *,
    run: str | None = None,
    runs_dir: Path,
    num_prompts: int | None = None,
    count_only: bool = False,
) -> Diff:
    """What an edited principle file does to the decisions of a run: the named one, or the newest.

    old: a principle file; None is what the run was judged by. new: a principle file; None is the one that the run's
    configuration names, as it is now. num_prompts: compare at most the pairs of so many prompts, drawn by their ids.
    count_only: ask nothing, only count what would be asked.
    """
    before, after = (None if name is None else load_constitution(name) for name in (old, new))
    ledger = ledger_path_of(open_run(runs_dir, run).config, runs_dir=runs_dir)
    read_only = count_only or not can_write(ledger)
    with open_judged(runs_dir, run, read_only=read_only) as (judged, bench):
        return diff_judged(judged, bench, old=before, new=after, num_prompts=num_prompts, count_only=count_only)
