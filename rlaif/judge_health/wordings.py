"""Three paraphrases of each principle and prompt, to see whether a verdict survives other words.

Without a file of paraphrases, three fixed frames are put round the principle and the user's last turn: they say the
same in other surroundings, which is the least that a verdict must survive. Asks no judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.errors import DataError
from rlaif.files.row import read_text
from rlaif.files.rows import read_rows
from rlaif.records import Constitution, Message, Principle

NUM_PARAPHRASES = 3
PRINCIPLE_FRAMES = (
    "What counts is this: {}",
    "Above everything else: {}",
    "{} Nothing matters more than this.",
)
TURN_FRAMES = ("Hello! {}", "{}\n\nThanks in advance.", "Here is my message.\n\n{}")
COLUMNS = ("text", "one", "two", "three")


class Wording(NamedTuple):
    """One way to say every principle and prompt."""

    principle_frame: str = "{}"
    turn_frame: str = "{}"
    said: Mapping[str, str] = {}
    """Text -> its paraphrase; a text that is not listed is put into its frame."""

    def reword_principle(self, principle: Principle) -> Principle:
        """The principle in other words, and its opposite in words of the same kind."""
        text = self._reword(principle.text, self.principle_frame)
        opposite = self._reword(principle.opposite, self.principle_frame) if principle.opposite else ""
        return Principle.model_validate({**principle.model_dump(), "text": text, "opposite": opposite})

    def reword_constitution(self, constitution: Constitution) -> Constitution:
        principles = tuple(map(self.reword_principle, constitution.principles))
        return constitution.changed(principles=[principle.model_dump() for principle in principles])

    def reword_messages(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The conversation with its last turn, which is the user's, in other words."""
        last = messages[-1]
        content = self._reword(last.content, self.turn_frame)
        return (*messages[:-1], Message(role=last.role, content=content))

    def _reword(self, text: str, frame: str) -> str:
        return self.said.get(text.strip()) or frame.replace("{}", text)


AS_GIVEN = Wording()
FRAMES = tuple(Wording(principle, turn) for principle, turn in zip(PRINCIPLE_FRAMES, TURN_FRAMES, strict=True))
"""The paraphrases without a file."""


def load_wordings(path: str | Path, *, principles: Iterable[Principle]) -> tuple[Wording, ...]:
    """The paraphrases of a file with the columns `text`, `one`, `two` and `three`.

    A text is a principle, an opposite, or the last turn of a prompt. Every one of `principles` must be listed; a turn
    or an opposite that is not listed keeps its words.
    """
    said: list[dict[str, str]] = [{} for _ in range(NUM_PARAPHRASES)]
    for row in read_rows(path):
        for column in row.columns:
            if column not in COLUMNS:
                fix = f"the columns are {', '.join(COLUMNS)}"
                raise DataError(f'a paraphrase has no column "{column[:80]}"', where=row.where, fix=fix)
        texts = [read_text(row.value(name), where=row.where, column=name).strip() for name in COLUMNS]
        if not all(texts) or len(set(texts)) < len(texts):
            raise DataError(
                "the text and its three paraphrases are not four different texts",
                where=row.where,
                fix=f"fill in the columns {', '.join(COLUMNS)}",
            )
        if texts[0] in said[0]:
            raise DataError("this text is paraphrased above already", where=row.where, fix="take one of the rows out")
        for known, paraphrase in zip(said, texts[1:], strict=True):
            known[texts[0]] = paraphrase
    for principle in principles:
        if principle.text not in said[0]:
            raise DataError(
                f'the principle "{principle.text[:80]}" has no paraphrases',
                where=str(path),
                fix="add a row with the principle's words, exactly as they are judged by, under `text`",
            )
    return tuple(Wording(said=known) for known in said)
