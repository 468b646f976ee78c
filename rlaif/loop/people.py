"""Between judging and reward modelling: a round's pairs drawn for people, and the run waiting until all have an answer.

The sheet lies in the round's folder, people label it with `rlaif spot-check label`, and the resumed run takes their
answers in as `spot-check status` does. While answers are missing nothing is said of what they come to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from rlaif.calibration.answer_file import answers_folder, read_all_answers
from rlaif.calibration.answers import Answered
from rlaif.calibration.dawid_skene import MIN_PEOPLE
from rlaif.calibration.labels import OVERALL, Labels
from rlaif.calibration.sheet import Sheet, read_sheet
from rlaif.calibration.taken_in import take_in
from rlaif.config.calibration import HumanConfig
from rlaif.config.run import RunConfig
from rlaif.console import say
from rlaif.constitution.selection import weighted_principles
from rlaif.errors import ConfigError, GateClosed, StageError, WaitsForPeople
from rlaif.ledger.queries import list_records
from rlaif.loop.gates import describe_transport
from rlaif.loop.spot_draw import Wanted, draw_round, judge_pairs_of, read_guideline, refuse_unknown
from rlaif.loop.spot_labels import store_labels
from rlaif.loop.transport import check_labels_of_round
from rlaif.records import (
    CalibrationCard,
    Comparison,
    Constitution,
    HumanLabel,
    Sample,
    SpotCheck,
    TransportCheck,
    digest_text,
)
from rlaif.run.book import Book
from rlaif.run.round import Round
from rlaif.run.stages import JUDGEMENTS, PREFERENCES, SAMPLES

SHEET = "sheet.json"
"""Name of the sheet in a round's folder; the answers are beside it, in sheet.answers."""


def check_asking(config: RunConfig, constitution: Constitution) -> None:
    """Refuse, before a model is loaded, what people could not be asked: an unknown principle, an empty guideline."""
    human = config.human
    _refuse_few(human)
    refuse_unknown(human.principle, {one.id: one for one in weighted_principles(constitution)}, where="human.principle")
    if human.guideline is not None:
        read_guideline(Path(human.guideline))


def ask_people(round: Round, book: Book, *, command: str) -> Labels:
    """The labels of the round's judged pairs, once everybody has answered; the sheet is drawn when there is none.

    Raises `WaitsForPeople` while answers are missing; command: the one that continues. Raises `GateClosed` where the
    labels show that the calibration by earlier rounds' labels no longer holds.
    """
    _refuse_few(round.config.human)
    path = round.run.path / f"round_{round.number:02d}" / SHEET
    sheet, check = _find_sheet(round, book, path)
    states = [one for one in read_all_answers(sheet, answers_folder(path)) if one.annotator in _names(round)]
    _wait_for_missing(states, sheet, path, config=round.config.human, command=_describe_command(round, command))
    before = round.ledger.used(check.runs[0], 0, check.stage, HumanLabel)
    taken = take_in(check, sheet, states, before=before)
    store_labels(round.ledger, check.runs, check.stage, labels=taken.labels, before=before)
    fresh = [label for label in taken.labels if label.annotator in _names(round)]
    if all(label.choice == "tie" for label in fresh):
        raise StageError(
            f"none of the {len(sheet.items)} items has an answer that takes a side: ties and unclear ones say nothing",
            where=str(path),
            fix="continue without people's labels by --set human.num_items=0 --resume, or begin a run with a guideline "
            "that decides",
        )
    say(f"people: {_describe_counts(states, sheet)}")
    transport = _check_transport(round, book, fresh)
    if transport is not None:
        _refuse_closed(round, transport)
        say(f"people: {describe_transport(transport)}")
    is_off = transport is not None and transport.outcome == "does not hold"
    earlier = [] if round.number == 0 or is_off else book.used(PREFERENCES, HumanLabel, round=round.number - 1)
    labels = (*earlier, *fresh)
    digest = digest_text("\n".join(sorted(label.id for label in labels)))
    return Labels(str(path), digest, [], brings_pairs=False, taken_in=labels, transport=transport)


def _refuse_few(human: HumanConfig) -> None:
    if human.num_items and human.combine == "dawid_skene" and len(human.annotators) < MIN_PEOPLE:
        raise ConfigError(
            f"who of {len(human.annotators)} people errs does not show: that takes {MIN_PEOPLE} or more",
            where="human.combine",
            fix="leave it at mean, or name more people in human.annotators",
        )


def _names(round: Round) -> tuple[str, ...]:
    return round.config.human.annotators


def _find_sheet(round: Round, book: Book, path: Path) -> tuple[Sheet, SpotCheck]:
    """The round's sheet and the draw behind it; drawn now where there is none."""
    human = round.config.human
    wanted = Wanted(
        size=human.num_items,
        seed=round.config.seed,
        design="focus" if human.focus else "even",
        max_ratio=human.max_ratio,
        principles=human.principle,
        guideline=None if human.guideline is None else Path(human.guideline),
    )
    if path.exists() and (check := _find_check(round, sheet := read_sheet(path))) is not None:
        _refuse_other(check, wanted, path)
        return sheet, check
    drawn = draw_round(round, book, path, wanted=wanted)
    found = [item.inclusion_probability for item in drawn.draw.items]
    between = f"{min(found):.4f}" if min(found) == max(found) else f"{min(found):.4f} to {max(found):.4f}"
    say(f"people: {len(found)} of {drawn.draw.num_frame} pairs drawn for them, each with a probability of {between}")
    check = _find_check(round, drawn.sheet)
    if check is None:
        raise ValueError("the draw was stored")
    return drawn.sheet, check


def _find_check(round: Round, sheet: Sheet) -> SpotCheck | None:
    return next((one for one in list_records(round.ledger, SpotCheck) if one.sheet_id == sheet.id), None)


def _refuse_other(check: SpotCheck, wanted: Wanted, path: Path) -> None:
    """Refuse options that the round's sheet was not drawn with: people may have begun it."""
    drawn_under = {item.principle_id for item in check.items}
    differ = [
        f"human.{name} {json.dumps(was)}, not {json.dumps(now)}"
        for name, was, now in (
            ("num_items", len(check.items), wanted.size),
            ("focus", check.design == "focus", wanted.design == "focus"),
            ("max_ratio", check.max_ratio, wanted.max_ratio),
        )
        if was != now
    ]
    if not drawn_under <= (set(wanted.principles) or {OVERALL}):
        differ.append(f"another human.principle ({', '.join(sorted(drawn_under))})")
    if wanted.guideline is not None and digest_text(read_guideline(wanted.guideline)) != check.guideline_digest:
        differ.append("another human.guideline")
    if differ:
        raise ConfigError(
            f"this round's sheet was drawn with {'; '.join(differ)}",
            where=str(path),
            fix="put it back: a sheet that people may have begun is not drawn again",
        )


def _wait_for_missing(
    states: Sequence[Answered], sheet: Sheet, path: Path, *, config: HumanConfig, command: str
) -> None:
    """Raise where somebody has not answered every item, with the commands that come next."""
    answered = {state.annotator: len(state.answers) for state in states}
    missing = [name for name in config.annotators if answered.get(name, 0) < len(sheet.items)]
    if not missing:
        return
    num_items = len(sheet.items)
    missed = ", ".join(f"{name} has answered {answered.get(name, 0)} of {num_items} pairs" for name in missing)
    commands = " and ".join(f"`rlaif spot-check label {quote(str(path))} --as {name}`" for name in missing)
    raise WaitsForPeople(
        f"this run waits for people: {missed}",
        where=str(path),
        fix=f"run {commands}, then `{command}`",
    )


def _describe_command(round: Round, command: str) -> str:
    runs_dir = round.run.path.parent
    place = "" if runs_dir == Path("runs") else f" --runs-dir {quote(str(runs_dir))}"
    return f"rlaif {command} --run {round.run.name}{place} --resume"


def _describe_counts(states: Sequence[Answered], sheet: Sheet) -> str:
    def describe() -> Iterator[str]:
        for state in states:
            unclear = sum(answer.verdict is None for answer in state.answers.values())
            yield f"{state.annotator} answered all {len(sheet.items)}" + (f", {unclear} unclear" if unclear else "")

    return "; ".join(describe())


def _check_transport(round: Round, book: Book, fresh: Sequence[HumanLabel]) -> TransportCheck | None:
    """The calibration of the round before on this round's labels; None where there is none."""
    if round.number == 0:
        return None
    cards = book.used(PREFERENCES, CalibrationCard, round=round.number - 1)
    if not cards:
        return None
    judged = judge_pairs_of(round, book, comparisons=book.used(JUDGEMENTS, Comparison, round=round.number))
    texts = {sample.id: sample.text for sample in book.used(SAMPLES, Sample, round=round.number)}
    return check_labels_of_round(fresh, judged, map=cards[-1].map, texts=texts)


def _refuse_closed(round: Round, check: TransportCheck) -> None:
    if check.outcome == "does not hold" and round.config.gates.transport:
        raise GateClosed(
            describe_transport(check),
            where="gates.transport",
            fix="look at what the judge gets wrong (`rlaif spot-check status` on the round's sheet), and judge by "
            "other principles or another judge in a new run; or continue with this round's labels alone by "
            "--set gates.transport=false --resume",
        )
