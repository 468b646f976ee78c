"""Judged runs -> a sheet for annotators and, in the ledger, what stands behind its items.

Brings the records of judged rounds to `rlaif.calibration.spot_check`, writes the sheet and stores the draw. The command
`spot-check draw` and a run that asks people itself draw by the same functions. Loads no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.doubts import find_doubts
from rlaif.calibration.judged import Judged
from rlaif.calibration.labels import OVERALL
from rlaif.calibration.sheet import (
    Sheet,
    SheetItem,
    describe_guideline,
    describe_question,
    make_sheet,
    read_sheet,
    refuse_taken,
    write_sheet,
)
from rlaif.calibration.spot_check import NO_QUEUE, Draw, FrameItem, ItemKey, Queued, draw_items, leave_out
from rlaif.calibration.why_asked import why_path, write_why
from rlaif.constitution.selection import weighted_principles
from rlaif.errors import InputError, RunFolderError, describe_names
from rlaif.evaluation.policy import find_policy_pairs
from rlaif.files.atomic import utc_now
from rlaif.files.texts import read_text_file
from rlaif.judging.panel import find_panel, find_run_judges
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.preferences.label import LabelRule
from rlaif.preferences.people import find_judged
from rlaif.records import (
    Comparison,
    Constitution,
    Design,
    DrawnItem,
    EvaluationReport,
    Observed,
    Panel,
    Principle,
    Prompt,
    Question,
    Sample,
    SpotCheck,
    Tally,
    Use,
)
from rlaif.records.base import REDACTED
from rlaif.run.book import Book
from rlaif.run.finished import read_stage
from rlaif.run.folder import RunFolder, open_run
from rlaif.run.round import Round
from rlaif.run.stages import EVALUATION, JUDGEMENTS, PROMPTS, SAMPLES, Stage
from rlaif.run.state import ledger_path_of, open_ledger
from rlaif.run.stored import open_stored
from rlaif.stats.logits import canonical_pair

MAX_GUIDELINE_BYTES = 64 * 1024


class Wanted(NamedTuple):
    """A draw as its owner wants it: how many items, by which design, and what people are asked about them."""

    size: int
    seed: int
    design: Design
    max_ratio: float
    principles: tuple[str, ...] = ()
    """Ids of the principles under which pairs are asked about; empty: as a whole."""
    guideline: Path | None = None
    """File with the text that annotators read; None: it is made of the constitution."""
    is_evaluation: bool = False
    """Draw from the newest evaluation of each run, trained policy against start, and not from the judged rounds."""
    queued: Queued = NO_QUEUE
    """With the design `queue`: the pairs that are drawn more often."""


class DrawnSheet(NamedTuple):
    """A sheet, and the owner's view of it."""

    sheet: Sheet
    draw: Draw
    runs: tuple[str, ...]
    tally: Tally
    """Items that the runs have, and those that could not be drawn, by reason."""
    rounds: tuple[str, ...]
    """The judged rounds that were drawn from, as run/number."""


class Material(NamedTuple):
    """The pairs of judged rounds, and the records behind them."""

    frame: list[FrameItem]
    reasons: dict[ItemKey, str]
    """Why some of the items cannot be drawn."""
    prompts: dict[str, Prompt]
    samples: dict[str, Sample]
    principles: dict[str, Principle]
    constitution: Constitution
    """The constitution of the newest round."""
    rounds: tuple[str, ...]
    """The rounds, as run/number."""


def draw_sheet(names: Sequence[str], path: Path, *, runs_dir: Path, wanted: Wanted, dry_run: bool) -> DrawnSheet:
    """Draw from the judged rounds of the named runs, or of the newest; write the sheet, and the draw to the ledger.

    dry_run: draw and write nothing.
    """
    refuse_taken(path)
    guideline = None if wanted.guideline is None else read_guideline(wanted.guideline)
    runs = [open_run(runs_dir, name) for name in dict.fromkeys(names)] or [open_run(runs_dir, None)]
    ledger_path = _find_ledger(runs, runs_dir)
    material = _gather(runs, runs_dir=runs_dir, wanted=wanted)
    with open_ledger(runs[0], ledger_path, read_only=dry_run) as ledger:
        drawn = _draw(ledger, material, wanted=wanted, guideline=guideline, runs=tuple(run.name for run in runs))
        if not dry_run:
            _store(ledger, drawn, path=path, wanted=wanted)
    return drawn


def draw_round(round: Round, book: Book, path: Path, *, wanted: Wanted) -> DrawnSheet:
    """Draw from the judged pairs of a run's round; write the sheet, and the draw to the ledger.

    A sheet that is there already is the one of this draw, which a kill kept from the ledger; any other is refused.
    """
    guideline = None if wanted.guideline is None else read_guideline(wanted.guideline)
    material = read_material(round, book, principles=wanted.principles)
    drawn = _draw(round.ledger, material, wanted=wanted, guideline=guideline, runs=(round.run.name,))
    _store(round.ledger, drawn, path=path, wanted=wanted)
    return drawn


def _draw(
    ledger: Ledger, material: Material, *, wanted: Wanted, guideline: str | None, runs: tuple[str, ...]
) -> DrawnSheet:
    drawn = {_key(item): "already_drawn" for check in list_records(ledger, SpotCheck) for item in check.items}
    frame, tally = leave_out(material.frame, reasons={**material.reasons, **drawn})
    draw = draw_items(
        frame, size=wanted.size, seed=wanted.seed, design=wanted.design, max_ratio=wanted.max_ratio,
        queued=wanted.queued,
    )  # fmt: skip
    sheet = _fill_sheet(draw, material, guideline=guideline, is_single=bool(wanted.principles))
    return DrawnSheet(sheet, draw, runs, tally, rounds=material.rounds)


def _store(ledger: Ledger, drawn: DrawnSheet, *, path: Path, wanted: Wanted) -> None:
    """The sheet first: a draw whose sheet nobody has would keep its pairs from being drawn again."""
    sheet, draw, runs, *_ = drawn
    check = SpotCheck(
        sheet_id=sheet.id, runs=runs, design=wanted.design, max_ratio=wanted.max_ratio, seed=wanted.seed,
        guideline_digest=sheet.guideline_digest, frame_digest=draw.frame_digest, num_frame=draw.num_frame,
        items=draw.items, is_evaluation=wanted.is_evaluation, drawn_from=drawn.rounds, queue=wanted.queued.name,
        observed=Observed(at=utc_now()),
    )  # fmt: skip
    uses = [Use(run=run, round=0, stage=check.stage, record_table=check.table, record_id=check.id) for run in runs]
    is_written = path.is_file() and read_sheet(path).id == sheet.id
    if not is_written:
        write_sheet(sheet, path)
        if wanted.design == "queue":
            queued = [item.item_id for item in draw.items if _key(item) in wanted.queued.keys]
            write_why(path, sheet, dict.fromkeys(queued, wanted.queued.sign))
    try:
        ledger.put_texts([sheet.guideline])
        ledger.append([check, *uses])
    except BaseException:
        if not is_written:
            path.unlink()  # written a moment ago, by this process
            why_path(path).unlink(missing_ok=True)
        raise


def _find_ledger(runs: Sequence[RunFolder], runs_dir: Path) -> Path:
    paths = {run.name: ledger_path_of(run.config, runs_dir=runs_dir) for run in runs}
    if len({path.resolve() for path in paths.values()}) > 1:
        raise RunFolderError(
            f"the runs {', '.join(paths)} have different ledgers, and a draw stands in one",
            where=str(runs_dir),
            fix="draw a sheet for each",
        )
    return next(iter(paths.values()))


def _gather(runs: Sequence[RunFolder], *, runs_dir: Path, wanted: Wanted) -> Material:
    stage, read = (EVALUATION, read_evaluation) if wanted.is_evaluation else (JUDGEMENTS, read_material)
    found: Material | None = None
    for run in runs:
        numbers = [n for n in range(len(list(run.path.glob("round_*")))) if _is_done(run, n, stage)]
        if not numbers:
            raise RunFolderError(
                f"nothing is {'evaluated' if wanted.is_evaluation else 'judged'} in this run yet",
                where=str(run.path),
                fix=f"run `{stage.command}` first",
            )
        for number in numbers[-1:] if wanted.is_evaluation else numbers:
            with open_stored(run, runs_dir=runs_dir, number=number, read_only=True) as (round, book):
                one = read(round, book, principles=wanted.principles)
            found = one if found is None else _join(found, one)
    if found is None:
        raise ValueError("there are no runs")
    return found


def _is_done(run: RunFolder, number: int, stage: Stage) -> bool:
    return read_stage(run.stage_dir(number, stage)) is not None


def _join(one: Material, other: Material) -> Material:
    if _texts(one) != _texts(other):
        raise InputError(
            f'"{one.constitution.name}" and "{other.constitution.name}" say different things, and labels by both are '
            "no one set",
            where="--run",
            fix="draw a sheet for each",
        )
    return Material(
        frame=[*one.frame, *other.frame],
        reasons=one.reasons | other.reasons,
        prompts=one.prompts | other.prompts,
        samples=one.samples | other.samples,
        principles=one.principles | other.principles,
        constitution=other.constitution,
        rounds=(*one.rounds, *other.rounds),
    )


def _texts(material: Material) -> dict[str, str]:
    return {principle.id: principle.text for principle in material.principles.values()}


def read_material(round: Round, book: Book, *, principles: Sequence[str]) -> Material:
    """What can be drawn of a judged round. principles: ids of those that are asked about; none: pairs as a whole."""
    comparisons = book.used(JUDGEMENTS, Comparison, round=round.number)
    return _make_material(
        round,
        comparisons,
        judged=judge_pairs_of(round, book, comparisons=comparisons),
        prompts=book.used(PROMPTS, Prompt, round=round.number),
        samples=book.used(SAMPLES, Sample, round=round.number),
        principles=principles,
    )


def read_evaluation(round: Round, book: Book, *, principles: Sequence[str]) -> Material:
    """What can be drawn of an evaluation: pairs of a response of the trained policy and one of the starting policy."""
    report = book.used(EVALUATION, EvaluationReport, round=round.number)[-1]
    samples = book.used(EVALUATION, Sample, round=round.number)
    pairs = {canonical_pair(a.id, b.id) for a, b in find_policy_pairs(samples, report)}
    comparisons = [c for c in book.used(EVALUATION, Comparison, round=round.number) if c.sample_ids in pairs]
    panel = Panel.of(*dict.fromkeys(comparison.judge_id for comparison in comparisons))
    found = _make_material(
        round,
        comparisons,
        judged=_judge(round, comparisons, panel=panel),
        prompts=book.used(EVALUATION, Prompt, round=round.number),
        samples=samples,
        principles=principles,
    )
    return found._replace(rounds=())  # of no judged round


def _make_material(
    round: Round,
    comparisons: Sequence[Comparison],
    *,
    judged: Judged,
    prompts: Sequence[Prompt],
    samples: Sequence[Sample],
    principles: Sequence[str],
) -> Material:
    known = {principle.id: principle for principle in weighted_principles(round.constitution)}
    refuse_unknown(principles, known)
    by_id = {sample.id: sample for sample in samples}
    doubts = find_doubts(comparisons, weights={name: principle.weight for name, principle in known.items()})
    wanted = set(principles) or {OVERALL}
    frame = [
        FrameItem(
            by_id[pair[0]].prompt_id, pair, principle_id, label.p_first,
            flipped=(pair, principle_id) in doubts.flipped, differ=(pair, principle_id) in doubts.differ,
        )
        for (pair, principle_id), label in judged.items()
        if principle_id in wanted and all(sample_id in by_id for sample_id in pair)
    ]  # fmt: skip
    prompts_by_id = {prompt.id: prompt for prompt in prompts}
    reasons = dict(_find_unfit(frame, prompts_by_id, by_id))
    return Material(
        frame, reasons, prompts=prompts_by_id, samples=by_id, principles=known, constitution=round.constitution,
        rounds=(f"{round.run.name}/{round.number}",),
    )  # fmt: skip


def judge_pairs_of(round: Round, book: Book, *, comparisons: Sequence[Comparison]) -> Judged:
    """What the judges of a round say together of each pair; comparisons: the round's."""
    judges = find_run_judges(round.config.judge)
    questions = book.used(JUDGEMENTS, Question, round=round.number) if len(judges) > 1 else []
    panel = find_panel(judges, questions=questions, comparisons=comparisons, is_recorded=round.is_recorded)
    return _judge(round, comparisons, panel=panel)


def _judge(round: Round, comparisons: Sequence[Comparison], *, panel: Panel) -> Judged:
    rule = LabelRule(round.config.preferences, seed=round.seed, fitted_on=comparisons)
    return find_judged(comparisons, constitution=round.constitution, panel=panel, rule=rule, draw_seed=round.draw_seed)


def _find_unfit(
    frame: Iterable[FrameItem], prompts: dict[str, Prompt], samples: dict[str, Sample]
) -> Iterator[tuple[ItemKey, str]]:
    for item in frame:
        first, second = (samples[sample_id].text for sample_id in item.sample_ids)
        prompt = prompts.get(item.prompt_id)
        if prompt is None or REDACTED in (first, second, *(message.content for message in prompt.messages)):
            yield item.key, "redacted"
        elif first.strip() == second.strip():
            yield item.key, "identical"


def refuse_unknown(wanted: Sequence[str], known: Mapping[str, Principle], *, where: str = "--principle") -> None:
    """Refuse a principle that does not count, or does not exist; known: those that count, by id."""
    for name in wanted:
        if name not in known:
            raise InputError(
                f'no principle that counts is called "{name[:80]}"',
                where=where,
                fix=describe_names(name, list(known), noun="the principles"),
            )


def _fill_sheet(draw: Draw, material: Material, *, guideline: str | None, is_single: bool) -> Sheet:
    principles = weighted_principles(material.constitution)
    items = tuple(_sheet_item(item, material, is_single=is_single) for item in draw.items)
    return make_sheet(items, guideline=guideline or describe_guideline(principles, is_single=is_single))


def _sheet_item(item: DrawnItem, material: Material, *, is_single: bool) -> SheetItem:
    a, b = (material.samples[sample_id].text for sample_id in item.sample_ids)
    principle = material.principles[item.principle_id] if is_single else None
    return SheetItem(
        id=item.item_id,
        question=describe_question(principle),
        messages=material.prompts[item.prompt_id].messages,
        a=a,
        b=b,
    )


def read_guideline(path: Path) -> str:
    text = read_text_file(path, error=InputError, max_bytes=MAX_GUIDELINE_BYTES).strip()
    if not text:
        raise InputError("the guideline is empty", where=str(path), fix="write how to decide between two replies")
    return text


def _key(item: DrawnItem) -> ItemKey:
    return canonical_pair(*item.sample_ids), item.principle_id
