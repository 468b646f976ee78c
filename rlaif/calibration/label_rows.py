"""Human labels -> the rows of a file: rlaif's own columns, a preference set for TRL and `datasets`, or RewardBench's.

Own rows are read back by `rlaif.calibration.labels` without a column map. Writes no file.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rlaif.calibration.labels import OVERALL
from rlaif.errors import DataError
from rlaif.files.bench_rows import DecidedPair, bench_rows
from rlaif.records import HumanLabel, Prompt, Sample, Tally

Which = Literal["all", "drawn", "imported", "edit-tests"]
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that a spreadsheet would compute."""


def choose_labels(labels: Sequence[HumanLabel], *, which: Which) -> list[HumanLabel]:
    """drawn: with a probability. imported: without one. all: refused where both kinds are among them.

    Labels of tests of edits are a set apart, and all of it is chosen.
    """
    if which == "edit-tests":
        return list(labels)
    drawn = [label for label in labels if label.inclusion_probability is not None]
    others = [label for label in labels if label.inclusion_probability is None]
    if which == "all" and drawn and others:
        raise DataError(
            f"{len(drawn)} labels have an inclusion probability and {len(others)} have none, and no figure is right "
            "for both together",
            where="--labels",
            fix="export `--labels drawn` and `--labels imported` to two files",
        )
    chosen = {"all": list(labels), "drawn": drawn, "imported": others}[which]
    if not chosen:
        raise DataError(f"no label is {which}", where="--labels", fix="choose others")
    return chosen


def own_rows(labels: Iterable[HumanLabel]) -> list[dict[str, Any]]:
    """A row for each label, with the columns that `--human-labels` reads."""
    return [
        {
            "first_id": label.sample_ids[0],
            "second_id": label.sample_ids[1],
            "prompt_id": label.prompt_id,
            "choice": label.choice,
            "annotator": label.annotator,
            "principle": label.principle_id,
            "inclusion_probability": label.inclusion_probability,
            "seconds": label.seconds,
            "simulated": label.simulated,
            "note": label.note,
        }
        for label in labels
    ]


def preference_rows(
    labels: Sequence[HumanLabel], *, prompts: Mapping[str, Prompt], samples: Mapping[str, Sample]
) -> tuple[list[dict[str, Any]], Tally]:
    """Rows with prompt, chosen and rejected as lists of messages, and a count of the labels that cannot be such a row.

    Dropped: `tie`, and `single_principle`, which says nothing of the pair as a whole.
    """
    rows: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    for label in labels:
        if label.principle_id != OVERALL:
            dropped["single_principle"] += 1
        elif label.choice == "tie":
            dropped["tie"] += 1
        else:
            chosen, rejected = label.sample_ids if label.choice == "first" else label.sample_ids[::-1]
            rows.append(
                {
                    "prompt": [message.model_dump() for message in prompts[label.prompt_id].messages],
                    "chosen": [{"role": "assistant", "content": samples[chosen].text}],
                    "rejected": [{"role": "assistant", "content": samples[rejected].text}],
                }
            )
    return rows, Tally(num_in=len(labels), dropped=dict(dropped))


def labelled_bench_rows(
    labels: Sequence[HumanLabel], *, prompts: Mapping[str, Prompt], samples: Mapping[str, Sample]
) -> tuple[list[dict[str, Any]], Tally]:
    """Rows of RewardBench's format, and a count of the labels that cannot be such a row, which are the ties.

    The subset is `overall`, or the principle that the person was asked about.
    """
    pairs: list[DecidedPair] = []
    for label in labels:
        if label.choice == "tie":
            continue
        chosen, rejected = label.sample_ids if label.choice == "first" else label.sample_ids[::-1]
        messages = prompts[label.prompt_id].messages
        pairs.append(DecidedPair(messages, samples[chosen].text, samples[rejected].text, subset=label.principle_id))
    num_ties = len(labels) - len(pairs)
    return bench_rows(pairs), Tally(num_in=len(labels), dropped={"tie": num_ties} if num_ties else {})


def as_jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV in which no text is a formula: such a cell begins with an apostrophe."""
    text = io.StringIO(newline="")
    writer, quoting = (
        csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n", quoting=how)
        for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    )
    writer.writeheader()
    for row in rows:
        cells = {name: _cell(value) for name, value in row.items()}
        # subtle: csv leaves a cell with a lone carriage return unquoted, and readers then end the row there
        is_broken = any("\r" in cell for cell in cells.values() if isinstance(cell, str))
        (quoting if is_broken else writer).writerow(cells)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
