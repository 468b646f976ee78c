"""Options of cleaning: which faults of prompts, demonstrations and preferences are looked for, and their treatment.

Read by `rlaif.cleaning`. Does not read files.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rlaif.config.base import Config

TextMode = Literal["off", "report", "drop", "fix"]
"""What happens to a text with a fault: nothing, it is counted, its row is dropped, or it is corrected."""
RowMode = Literal["off", "report", "drop"]
"""What happens to a row with a fault that nothing can correct."""


class CleaningConfig(Config):
    """Faults of prompts, demonstrations and preferences. off: not looked for. report: counted and shown with examples,
    and the rows stay as they are. drop: such rows are left out, and counted. fix: the text is corrected."""

    unicode: TextMode = "off"
    """Characters in a decomposed spelling, such as e with a separate accent. fix: composed (NFC)."""
    mojibake: TextMode = "off"
    """Text that was decoded with a wrong encoding, such as caf\u00c3\u00a9. fix: decoded again, by ftfy. Where a
    replacement character stands, the text is lost, and fix leaves it."""
    control: TextMode = "off"
    """Control characters, invisible ones, and those that change the direction of writing. fix: removed; line ends
    become plain ones."""
    markup: TextMode = "off"
    """HTML that was left in the text: tags, comments, entities such as &amp;. Code between backquotes is not looked
    at. fix: tags are removed, entities replaced."""
    personal: TextMode = "off"
    """E-mail addresses, phone numbers, IBANs and credit cards whose checksum is right. Names are not found. fix:
    replaced by [e-mail], [phone], [IBAN], [card]."""
    length: RowMode = "off"
    """Texts with fewer characters than min_characters or more than max_characters."""
    min_characters: int = Field(1, ge=0, le=1_000_000_000)
    """Shortest user turn and shortest response, in characters without spaces at the ends."""
    max_characters: int = Field(20_000, ge=1, le=1_000_000_000)
    """Longest turn and longest response, in characters."""
    duplicates: RowMode = "report"
    """Rows that are equal but for case, spaces and the spelling of characters. The first of them is kept."""
    near_duplicates: RowMode = "off"
    """Rows that are also equal but for punctuation, slips of the pen, and a few words that were added or left out.
    Another word or another number makes another row. The first of them is kept."""
    near_similarity: float = Field(0.8, ge=0.5, le=1)
    """How alike the characters of near duplicates are at least; 1 is equal."""
    leakage: RowMode = "report"
    """Rows to train on whose prompt is one of the evaluation's or of the held-out ones, equal as duplicates are."""
    near_leakage: RowMode = "off"
    """The same, equal as near duplicates are."""
    identical_pairs: RowMode = "off"
    """Preferences between responses that are equal but for case and spaces."""
    near_identical_pairs: RowMode = "off"
    """Preferences between responses that are equal as near duplicates are."""
    contradictions: RowMode = "off"
    """Pairs of the same two responses to the same prompt that are preferred both ways. drop: all of them."""
    label_flips: RowMode = "off"
    """Pairs to train on whose label is contradicted by three read-outs of the other pairs: of words, of word pairs and
    of trigrams. Looked for among at least 200 pairs; where such counts do not tell the labels, nothing is found. Labels
    that were given in doubt are suspected too."""
    flip_margin: float = Field(0.25, ge=0, le=10)
    """How clearly each read-out must contradict the label, as a share of what it says for the median pair's."""

    @model_validator(mode="after")
    def _lengths_are_in_order(self) -> Self:
        if self.min_characters > self.max_characters:
            raise ValueError(f"min_characters {self.min_characters} is above max_characters {self.max_characters}")
        return self


RECOMMENDED = CleaningConfig(
    unicode="fix",
    mojibake="fix",
    control="fix",
    markup="fix",
    personal="report",
    duplicates="drop",
    near_duplicates="drop",
    leakage="drop",
    near_leakage="drop",
    identical_pairs="drop",
    near_identical_pairs="report",
    contradictions="report",
)
"""What `rlaif clean` does where no configuration is given."""
