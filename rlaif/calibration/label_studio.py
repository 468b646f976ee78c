"""Label Studio's pairwise JSON, both ways: sheets and answers -> tasks; tasks with annotations -> answers or labels.

A task shows two replies in one order, so answers in the other order stand in a task of their own. Label Studio draws no
order: ours is drawn when the tasks are written. Reads and writes no ledger.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.calibration.answers import Answer, Answered, Choice, Order
from rlaif.calibration.labels import OVERALL, LabelRow, Labels, Texts, refuse_unfit
from rlaif.calibration.sheet import Sheet, SheetItem
from rlaif.errors import DataError
from rlaif.files.atomic import digest_file
from rlaif.files.messages import read_prompt_messages
from rlaif.files.row import describe
from rlaif.files.texts import read_text_file
from rlaif.records import Message, Prompt

SIDES: Mapping[str, Choice] = {"left": "first", "right": "second"}
UNDECIDED: Mapping[str, Choice] = {"tie": "tie", "unclear": "unclear"}
MAX_BYTES = 64 * 2**20
CONFIG = """<View>
  <Header value="$question"/>
  <Text name="guideline" value="$guideline"/>
  <Text name="prompt" value="$prompt"/>
  <Text name="text1" value="$text1"/>
  <Text name="text2" value="$text2"/>
  <Pairwise name="pw" toName="text1,text2"/>
  <Choices name="undecided" toName="prompt" choice="single">
    <Choice value="tie"/>
    <Choice value="unclear"/>
  </Choices>
</View>
"""
"""The labelling interface for these tasks."""


class Annotation(NamedTuple):
    """One person's decision on a task."""

    where: str
    data: Mapping[str, Any]
    annotator: str
    choice: Choice
    """first: what the task showed on the left."""
    seconds: float | None
    at: str


def make_tasks(sheet: Sheet, states: Sequence[Answered]) -> list[dict[str, Any]]:
    """A task for each item, and for each further order in which somebody saw it; answers given are annotations."""
    tasks = []
    for item in sheet.items:
        given = [(state.annotator, state.answers[item.id]) for state in states if item.id in state.answers]
        orders = list(dict.fromkeys(answer.order for _, answer in given)) or [_draw_order(sheet, item)]
        for order in orders:
            annotations = [_annotation(name, answer) for name, answer in given if answer.order == order]
            tasks.append({"data": _data(sheet, item, order), **({"annotations": annotations} if annotations else {})})
    return tasks


def read_annotations(path: Path) -> list[Annotation]:
    """The decisions of an export as JSON. Cancelled annotations are no decisions."""
    tasks = _read_tasks(path)
    if tasks is None:
        raise DataError(
            "this is no export of Label Studio as JSON",
            where=str(path),
            fix="export as JSON, whose tasks have `data` and `annotations`",
        )
    found = [
        one for number, task in enumerate(tasks, start=1) for one in _read_task(task, where=f"{path} task {number}")
    ]
    if not found:
        raise DataError("no task of the file has an annotation", where=str(path), fix="export the labelled tasks")
    return found


def sheet_answers(annotations: Sequence[Annotation], sheet: Sheet) -> dict[str, list[Answer]]:
    """Annotator -> answers to the items of a sheet, of tasks that were made from it."""
    items = {item.id: item for item in sheet.items}
    found: dict[str, list[Answer]] = {}
    for one in annotations:
        item = _find_item(one, sheet, items)
        order: Order = "ab" if (one.data["text1"], one.data["text2"]) == (item.a, item.b) else "ba"
        given = found.setdefault(one.annotator, [])
        if any(answer.item_id == item.id for answer in given):
            raise DataError(
                f"{one.annotator} labelled item {item.id} twice", where=one.where, fix="keep one of the annotations"
            )
        given.append(
            Answer(
                item_id=item.id, choice=one.choice, order=order, seconds=one.seconds, note="", at=one.at,
                guideline=sheet.guideline_digest, is_override=False,
            )
        )  # fmt: skip
    return found


def read_label_studio(path: Path) -> Labels | None:
    """Labels of tasks with `prompt`, `text1` and `text2`, matched by these texts; None for another kind of file.

    Where a person could not decide there is no label.
    """
    if path.suffix.lower() != ".json" or not path.is_file() or _read_tasks(path) is None:
        return None
    rows = []
    for one in read_annotations(path):
        if one.choice == "unclear":
            continue
        rows.append(
            LabelRow(
                where=one.where,
                annotator=one.annotator,
                principle_id=str(one.data.get("principle") or OVERALL),
                choice=one.choice,
                pair=_texts(one),
                inclusion_probability=_probability(one),
                seconds=one.seconds,
            )
        )
    if not rows:
        raise DataError("nobody could decide on any task", where=str(path), fix="check the labelled tasks")
    labels = Labels(str(path), digest_file(path), rows, brings_pairs=False)
    refuse_unfit(labels)
    return labels


def _data(sheet: Sheet, item: SheetItem, order: Order) -> dict[str, str]:
    first, second = (item.a, item.b) if order == "ab" else (item.b, item.a)
    return {
        "sheet": sheet.id,
        "item": item.id,
        "question": item.question,
        "guideline": sheet.guideline,
        "prompt": _prompt_text(item.messages),
        "text1": first,
        "text2": second,
    }


def _prompt_text(messages: Sequence[Message]) -> str:
    """The user's words alone, or a conversation as JSON, which is read back as one."""
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].content
    return json.dumps([message.model_dump() for message in messages], ensure_ascii=False)


def _draw_order(sheet: Sheet, item: SheetItem) -> Order:
    return "ab" if random.Random(f"label studio\n{sheet.id}\n{item.id}").random() < 0.5 else "ba"


def _annotation(annotator: str, answer: Answer) -> dict[str, Any]:
    if answer.choice in UNDECIDED:
        result = {
            "from_name": "undecided",
            "to_name": "prompt",
            "type": "choices",
            "value": {"choices": [answer.choice]},
        }
    else:
        side = "left" if answer.choice == "first" else "right"
        value = {"selected": side}
        result = {"from_name": "pw", "to_name": "text1,text2", "type": "pairwise", "value": value}
    return {
        "completed_by": {"email": annotator},
        "created_at": answer.at,
        "lead_time": answer.seconds,
        "result": [result],
    }


def _read_tasks(path: Path) -> list[Any] | None:
    """The tasks of an export; None where the file is another one."""
    try:
        found = json.loads(read_text_file(path, error=DataError, max_bytes=MAX_BYTES))
    except (ValueError, RecursionError):
        return None
    is_export = isinstance(found, list) and found and all(map(_is_task, found))
    return found if is_export else None


def _is_task(task: object) -> bool:
    return (
        isinstance(task, dict) and isinstance(task.get("data"), dict) and isinstance(task.get("annotations", []), list)
    )


def _read_task(task: Mapping[str, Any], *, where: str) -> Iterator[Annotation]:
    for annotation in task.get("annotations", ()):
        if not isinstance(annotation, dict):
            raise DataError(f"an annotation is {describe(annotation)}", where=where, fix="export as JSON again")
        if annotation.get("was_cancelled"):
            continue
        seconds = annotation.get("lead_time")
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        yield Annotation(
            where=where,
            data=task["data"],
            annotator=_name(annotation.get("completed_by")),
            choice=_read_choice(annotation.get("result"), where=where),
            seconds=float(seconds) if is_number and seconds is not None else None,
            at=str(annotation.get("created_at") or ""),
        )


def _read_choice(result: Any, *, where: str) -> Choice:
    """The one decision of an annotation."""
    found: list[Choice] = []
    for part in result if isinstance(result, list) else ():
        value = part.get("value") if isinstance(part, dict) else None
        value = value if isinstance(value, dict) else {}
        said = [value.get("selected"), *(value["choices"] if isinstance(value.get("choices"), list) else ())]
        found += [{**SIDES, **UNDECIDED}[one] for one in said if isinstance(one, str) and one in {**SIDES, **UNDECIDED}]
    if len(found) != 1:
        raise DataError(
            "the annotation does not say one of left, right, tie and unclear",
            where=where,
            fix="choose one of them, or cancel the annotation",
        )
    return found[0]


def _name(completed_by: Any) -> str:
    """A name that can name a file, of an e-mail address or of Label Studio's number."""
    name = completed_by.get("email") or completed_by.get("id") if isinstance(completed_by, dict) else completed_by
    text = re.sub(r"[^\w.-]", "_", str(name or "unnamed"))[:40].lstrip(".-")
    return text if not text.isdigit() else f"user{text}"


def _find_item(one: Annotation, sheet: Sheet, items: Mapping[str, SheetItem]) -> SheetItem:
    if one.data.get("sheet") != sheet.id:
        raise DataError(
            "the task was made from another sheet, or from none", where=one.where, fix="name the sheet of these tasks"
        )
    item = items.get(str(one.data.get("item")))
    if item is None:
        raise DataError(
            f"nobody drew an item {describe(one.data.get('item'))}", where=one.where, fix="restore the task's data"
        )
    if sorted((str(one.data.get("text1")), str(one.data.get("text2")))) != sorted((item.a, item.b)):
        raise DataError(
            f"the replies of item {item.id} are not those of the sheet", where=one.where, fix="restore the task's data"
        )
    if one.data.get("guideline") != sheet.guideline:
        raise DataError(
            "the task shows another guideline than the sheet, and labels under two guidelines are no one set",
            where=one.where,
            fix="restore the task's data",
        )
    return item


def _texts(one: Annotation) -> Texts:
    for name in ("prompt", "text1", "text2"):
        if not isinstance(one.data.get(name), str):
            raise DataError(
                f'the task has no text "{name}"', where=one.where, fix="its data needs prompt, text1 and text2"
            )
    messages = read_prompt_messages(one.data["prompt"], where=one.where, column="prompt")
    return Texts(Prompt(messages=messages), (one.data["text1"], one.data["text2"]))


def _probability(one: Annotation) -> float | None:
    given = one.data.get("inclusion_probability")
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= 1:
        raise DataError(
            f'"inclusion_probability" is {describe(given)}, no probability of being drawn',
            where=one.where,
            fix="give a number above 0, at most 1",
        )
    return float(given)
