"""A calibration as a file of its own: the fitted map, and by whom, by what and of what it was fitted.

The file is bound to the judges, their templates and the constitution by digest, and to the options that make a label.
Where one of them is another, it is not applied, and the sentence says which. Fits nothing and knows no run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rlaif.errors import DataError
from rlaif.files.own_files import read_own
from rlaif.records import CalibrationCard
from rlaif.records.base import Value

FIX = "fit one for this run by `rlaif calibrate`, or leave human.calibration out"
DIGITS_SHOWN = 12


class BoundJudge(Value):
    """A judge whose labels a calibration maps."""

    name: str
    judge_id: str
    """The id of its `Model` record, a hash of weights, tokenizer and decoding."""
    template_digest: str | None
    """None where the exact prompts are not known, as with recorded verdicts."""
    weight: float = 1.0
    """Its weight in the panel."""


class CalibrationFile(Value):
    format: Literal["rlaif calibration 1"] = "rlaif calibration 1"
    run: str
    """The run whose pairs people labelled."""
    judges: tuple[BoundJudge, ...]
    """In the order of the panel."""
    constitution_name: str
    constitution_id: str
    making: dict[str, Any]
    """The options of `preferences` that make a label and differ from the default."""
    card: CalibrationCard


def read_calibration(path: Path) -> CalibrationFile:
    """The calibration of a file that `rlaif calibrate` wrote."""
    return read_own(
        path, CalibrationFile.model_validate_json, fix="make it again by `rlaif calibrate`", error=DataError
    )


def refuse_existing(path: Path) -> None:
    """Refuse a place that holds something already."""
    if os.path.lexists(path):
        raise DataError(
            "there is a file already, and nothing is overwritten", where=str(path), fix="name another --out"
        )


def write_calibration(path: Path, found: CalibrationFile) -> None:
    """Write the calibration as a new file; one that is there is never replaced."""
    try:
        file = path.open("xb")
    except FileExistsError:
        refuse_existing(path)
        raise
    try:
        with file:
            file.write(found.model_dump_json(indent=2).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def refuse_changed(
    found: CalibrationFile,
    *,
    where: str,
    judges: Sequence[tuple[str, str]] | None = None,
    templates: Sequence[str | None] | None = None,
    weights: Sequence[float] | None = None,
    constitution_id: str | None = None,
    making: Mapping[str, Any] | None = None,
) -> None:
    """Refuse a calibration where something that it is bound to is another; what is None is not known yet.

    judges: name and id of each. templates: digests, a judge each. weights: those of the panel.
    making: as in `CalibrationFile`.
    """
    changed = [*_find_changed_judges(found, judges), *_find_changed_templates(found, templates)]
    count = next((len(given) for given in (judges, templates) if given is not None), len(found.judges))
    if count != len(found.judges):
        changed = [f"it maps the labels of {len(found.judges)} judges together, and {count} judge here"]
    elif weights is not None and list(weights) != [bound.weight for bound in found.judges]:
        changed.append("the judges' weights in the panel are others")
    if constitution_id not in (None, found.constitution_id):
        changed.append(f'the constitution is not "{found.constitution_name}" as it was then')
    if making not in (None, found.making):
        changed.append("the options of `preferences` that make a label are others")
    if changed:
        raise DataError(f"the calibration does not fit this run: {'; '.join(changed)}", where=where, fix=FIX)


def refuse_other_judge(found: CalibrationFile, *, number: int, name: str, judge_id: str, where: str) -> None:
    """Refuse a calibration before a judge is asked that it was not fitted to. number: the judge's, from 1."""
    judges = [(bound.name, bound.judge_id) for bound in found.judges]
    if number <= len(judges):
        judges[number - 1] = (name, judge_id)
    refuse_changed(found, where=where, judges=judges)


def _find_changed_judges(found: CalibrationFile, judges: Sequence[tuple[str, str]] | None) -> Iterator[str]:
    for bound, (name, judge_id) in zip(found.judges, judges or (), strict=False):
        if bound.judge_id != judge_id:
            yield (
                f"the judge is {name} ({judge_id[:DIGITS_SHOWN]}), and it was fitted to {bound.name} "
                f"({bound.judge_id[:DIGITS_SHOWN]})"
            )


def _find_changed_templates(found: CalibrationFile, templates: Sequence[str | None] | None) -> Iterator[str]:
    for bound, digest in zip(found.judges, templates or (), strict=False):
        if bound.template_digest != digest:
            was, now = ("none" if one is None else one[:DIGITS_SHOWN] for one in (bound.template_digest, digest))
            yield f"the template of {bound.name} is another (digest {now}, and it was {was})"
