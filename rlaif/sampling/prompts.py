"""Files and data sets -> prompts and demonstrations, with a tally of everything dropped.

Plain text or chat messages, as TRL writes them. A row that cannot be read is an error before any work is done; an empty
or repeated row is dropped and counted. Does not draw responses.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.cleaning.report import CleaningReport
from rlaif.config.generate import PromptsConfig
from rlaif.errors import DataError
from rlaif.files.json_rows import MAX_DEPTH, OnOdd, is_deeper
from rlaif.files.messages import read_messages, read_prompt_messages, read_response
from rlaif.files.odd_rows import OddRows
from rlaif.files.row import Row, describe, missing_column, read_text
from rlaif.files.row_parts import refuse_part_of_file
from rlaif.files.row_sources import is_file_source, read_source
from rlaif.records import Demonstration, Message, Prompt, Tally

CONVERSATION_COLUMNS = ("messages", "conversations", "conversation")
RESPONSE_COLUMNS = ("response", "completion")
REFERENCE = PromptsConfig().reference_column


class PromptRead(NamedTuple):
    prompts: list[Prompt]
    tally: Tally
    cleaning: CleaningReport | None = None
    """What cleaning found; None where nothing was cleaned yet."""


_FIXED_NAMES = "name the columns `prompt` and `response`, or `messages` for whole conversations"


class DemonstrationRead(NamedTuple):
    demonstrations: list[tuple[Prompt, Demonstration]]
    tally: Tally


def read_prompts(config: PromptsConfig) -> PromptRead:
    """The first `num_prompts` different prompts of a file or data set, in its order.

    Two more columns are read where they exist: the one of a known answer, and `metadata` (an object that is kept
    unchanged).
    """
    prompts: dict[str, Prompt] = {}
    dropped: Counter[str] = Counter()
    num_in = 0
    reference = config.reference_column
    wanted = {config.column, reference, "metadata"}
    odd = OddRows(at_most=config.max_odd_rows, option="prompts.max_odd_rows", where=config.path)
    rows = _rows(config.path, split=config.split, wanted=wanted, option="prompts.split", on_odd=odd.add)
    for prompt in odd.read(rows, partial(read_prompt_row, config=config)):
        num_in += 1
        if prompt is None:
            dropped["empty"] += 1
        elif prompt.id in prompts:
            dropped["duplicate"] += 1
        elif len(prompts) == config.num_prompts:
            dropped["over_num_prompts"] += 1
        else:
            prompts[prompt.id] = prompt
    _require_any(len(prompts), num_in, noun="prompt", where=config.path)
    return PromptRead(list(prompts.values()), odd.count_in(Tally(num_in=num_in, dropped=dict(dropped))))


def read_prompt_row(row: Row, *, config: PromptsConfig) -> Prompt | None:
    """The prompt of a row; None where it is empty."""
    reference = config.reference_column
    if reference not in row.columns and reference != PromptsConfig().reference_column:
        raise missing_column(reference, columns=row.columns, where=row.where, option="prompts.reference_column")
    if config.column not in row.cells:
        raise missing_column(config.column, columns=row.columns, where=row.where, option="prompts.column")
    messages = read_prompt_messages(row.value(config.column), where=row.where, column=config.column)
    answer = read_text(row.cells.get(reference), where=row.where, column=reference) or None
    metadata = _metadata(row)
    if not messages:
        return None
    return Prompt(messages=messages, reference=answer, source=_source(row), metadata=metadata)


def read_demonstrations(
    path: str, *, split: str | None = None, max_odd_rows: int = 0, reference: str = REFERENCE
) -> DemonstrationRead:
    """Prompts with a response that somebody wrote, from `prompt` and `response` (or `completion`), or from `messages`.

    split: the split of a folder or hub data set; None: the one that is for training. max_odd_rows: most rows that
    may be left out. reference: the column of a prompt's known answer, read where it exists.
    """
    found: dict[tuple[str, str], tuple[Prompt, Demonstration]] = {}
    dropped: Counter[str] = Counter()
    num_in = 0
    if Path(path).is_file():
        refuse_part_of_file(Path(path), split, option="sft.split")
    wanted = {"prompt", reference, *CONVERSATION_COLUMNS, *RESPONSE_COLUMNS}
    odd = OddRows(at_most=max_odd_rows, option="sft.max_odd_rows", where=path)
    rows = _rows(path, split=split or "train", wanted=wanted, option="sft.split", on_odd=odd.add)

    def read(row: Row) -> tuple[Prompt, str]:
        messages, response = read_demonstration_row(row)
        answer = read_text(row.cells.get(reference), where=row.where, column=reference) or None
        return Prompt(messages=messages, reference=answer, source=_source(row)), response

    for prompt, response in odd.read(rows, read):
        num_in += 1
        if not prompt.messages:
            dropped["empty_prompt"] += 1
        elif not response.strip():
            dropped["empty_response"] += 1
        elif (prompt.id, response) in found:
            dropped["duplicate"] += 1
        else:
            demonstration = Demonstration(prompt_id=prompt.id, response=response, source=Path(path).name)
            found[prompt.id, response] = (prompt, demonstration)
    _require_any(len(found), num_in, noun="demonstration", where=path)
    return DemonstrationRead(list(found.values()), odd.count_in(Tally(num_in=num_in, dropped=dict(dropped))))


def drop_over_length(
    prompts: Sequence[Prompt], *, count_tokens: Callable[[Prompt], int], max_tokens: int
) -> PromptRead:
    """The prompts that leave room for a response: those of at most `max_tokens` tokens."""
    kept = [prompt for prompt in prompts if count_tokens(prompt) <= max_tokens]
    if prompts and not kept:
        raise DataError(
            f"all {len(prompts)} prompts are longer than the {max_tokens} tokens that the model has room for",
            where=prompts[0].source,
            fix="shorten the prompts, lower sampling.max_new_tokens, or take a model with a longer context",
        )
    num_dropped = len(prompts) - len(kept)
    return PromptRead(kept, Tally(num_in=len(prompts), dropped={"over_length": num_dropped} if num_dropped else {}))


def _rows(path: str, *, split: str, wanted: Collection[str], option: str, on_odd: OnOdd) -> Iterator[Row]:
    part = None if is_file_source(path) else split
    return read_source(path, part=part, wanted=wanted, option=option, on_odd=on_odd)


def _source(row: Row) -> str:
    """The file's name without its folders: a record should not tell where on a disk it came from."""
    return row.where.rsplit("/", 1)[-1]


def _require_any(num_kept: int, num_in: int, *, noun: str, where: str) -> None:
    if num_in == 0:
        raise DataError(f"there is no {noun} in it", where=where, fix="write one row per line")
    if num_kept == 0:
        raise DataError(f"all {num_in} {noun}s are empty", where=where, fix="check the column")


def read_demonstration_row(row: Row) -> tuple[tuple[Message, ...], str]:
    """The prompt of a row, empty where it has none, and the response."""
    talk = next((name for name in CONVERSATION_COLUMNS if name in row.columns), None)
    if talk is not None:
        messages = read_messages(row.value(talk), where=row.where, column=talk)
        if not messages:
            return (), ""
        if messages[-1].role != "assistant":
            raise DataError(
                f'"{talk}" ends with the {messages[-1].role}\'s turn',
                where=row.where,
                fix="end it with the assistant's turn, which is what the model learns",
            )
        before = [turn.model_dump() for turn in messages[:-1]]
        return read_prompt_messages(before, where=row.where, column=talk), messages[-1].content
    column = next((name for name in RESPONSE_COLUMNS if name in row.columns), None)
    if column is None:
        raise missing_column("response", columns=row.columns, where=row.where, way_out=_FIXED_NAMES)
    if "prompt" not in row.cells:
        raise missing_column("prompt", columns=row.columns, where=row.where, way_out=_FIXED_NAMES)
    prompt = read_prompt_messages(row.value("prompt"), where=row.where, column="prompt")
    return prompt, read_response(row.value(column), where=row.where, column=column) or ""


def _metadata(row: Row) -> dict[str, Any]:
    value = row.cells.get("metadata")
    if value is None:
        return {}
    if is_deeper(value, MAX_DEPTH):
        raise DataError(f'"metadata" is nested deeper than {MAX_DEPTH} levels', where=row.where, fix="flatten it")
    if not isinstance(value, dict):
        raise DataError(f'"metadata" holds {describe(value)}', where=row.where, fix="make it an object")
    try:
        return dict(json.loads(json.dumps(_nulled(value), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise DataError(
            f'"metadata" holds what JSON cannot: {error}',
            where=row.where,
            fix="keep text, numbers and lists in it",
        ) from error


def _nulled(value: Any) -> Any:
    """The value with None for NaN, which Parquet files written by pandas have where a number is missing."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {key: _nulled(inner) for key, inner in value.items()}
    return [_nulled(inner) for inner in value] if isinstance(value, list) else value
