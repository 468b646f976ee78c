"""What cleaning must know of prompts, demonstrations and preferences: their texts, their prompt, their sides.

A row with corrected texts is a new row; nothing is changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from rlaif.cleaning.alike import Parts
from rlaif.records import ChoiceRow, Demonstration, PreferenceRow, Prompt, RankingRow, RatedRow, TrainingRow

T = TypeVar("T")
Demonstrated = tuple[Prompt, Demonstration]


class Kind(NamedTuple, Generic[T]):
    """How to take rows of one kind apart."""

    noun: str
    """What its rows are called, in the plural."""
    prompt: Callable[[T], Prompt]
    responses: Callable[[T], Parts]
    """Its responses, none for a prompt."""
    rebuild: Callable[[T, Prompt, Parts], T]
    """The row with another prompt and other responses, as many as it has."""
    label: Callable[[T], str] = lambda row: ""
    """What makes two rows with the same texts different: who is preferred, or how a response was rated."""

    def texts(self, row: T) -> Parts:
        return (*(turn.content for turn in self.prompt(row).messages), *self.responses(row))

    def parts(self, row: T) -> Parts:
        """The row's texts as they are compared with those of others: turns by who speaks."""
        return (*prompt_parts(self.prompt(row)), *self.responses(row), self.label(row))

    def with_texts(self, row: T, texts: Sequence[str]) -> T:
        prompt, responses = self.prompt(row), self.responses(row)
        if tuple(texts) == self.texts(row):
            return row
        split = len(prompt.messages)
        turns = tuple(
            turn.model_copy(update={"content": text}) for turn, text in zip(prompt.messages, texts, strict=False)
        )
        changed = prompt if turns == prompt.messages else prompt.changed(messages=turns)
        return self.rebuild(row, changed, tuple(texts[split : split + len(responses)]))


def prompt_parts(prompt: Prompt) -> Parts:
    """A prompt's texts as they are compared with those of others."""
    roles = " ".join(turn.role for turn in prompt.messages)
    return (*(turn.content for turn in prompt.messages), roles)


def _rebuild_demonstration(row: Demonstrated, prompt: Prompt, responses: Parts) -> Demonstrated:
    return prompt, row[1].changed(prompt_id=prompt.id, response=responses[0])


def _responses_of(row: TrainingRow) -> Parts:
    if isinstance(row, PreferenceRow):
        return row.chosen, row.rejected
    return (row.response,) if isinstance(row, RatedRow) else row.responses


def _rebuild_preference(row: TrainingRow, prompt: Prompt, responses: Parts) -> TrainingRow:
    if isinstance(row, PreferenceRow):
        chosen, rejected = responses
        return row.model_copy(update={"prompt": prompt, "chosen": chosen, "rejected": rejected})
    if isinstance(row, RatedRow):
        return row.model_copy(update={"prompt": prompt, "response": responses[0]})
    return row.model_copy(update={"prompt": prompt, "responses": responses})


def _label_of(row: TrainingRow) -> str:
    if isinstance(row, PreferenceRow):
        return "pair" if row.label >= 0.5 else "pair, the other way round"
    if isinstance(row, RatedRow):
        return f"{row.kind} {row.value!r} {row.annotator}"
    return (
        "ranking"
        if isinstance(row, RankingRow)
        else f"choice {max(range(len(row.shares)), key=row.shares.__getitem__)}"
    )


PROMPTS: Kind[Prompt] = Kind("prompts", lambda row: row, lambda row: (), lambda row, prompt, responses: prompt)
DEMONSTRATIONS: Kind[Demonstrated] = Kind(
    "demonstrations", lambda row: row[0], lambda row: (row[1].response,), _rebuild_demonstration
)
PREFERENCES: Kind[TrainingRow] = Kind(
    "preferences", lambda row: row.prompt, _responses_of, _rebuild_preference, _label_of
)


def sides(row: object) -> Iterator[tuple[str, str]]:
    """Every two responses that a preference is between."""
    if isinstance(row, PreferenceRow):
        yield row.chosen, row.rejected
    elif isinstance(row, (ChoiceRow, RankingRow)):
        for place, one in enumerate(row.responses):
            for other in row.responses[place + 1 :]:
                yield one, other


def preferred(row: object) -> tuple[str, str] | None:
    """The better response of a pair and the worse one; None where the row is no pair, or a tie."""
    if not isinstance(row, PreferenceRow) or row.label == 0.5:
        return None
    return (row.chosen, row.rejected) if row.label > 0.5 else (row.rejected, row.chosen)
