"""The dataset card of exported preferences: what is in the folder, who judged, by which principles.

Facts in, Markdown out; the same facts give the same text, and no time enters it. Writes no file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from rlaif.files.markdown import inline_code, plain_text
from rlaif.records import Constitution, Tally

RowKind = Literal["pairs", "choices"]
_COLUMNS = (
    ("prompt", "the conversation up to the assistant's turn: a list of `role` and `content`"),
    ("chosen, rejected", "the preferred and the other response: a list of one assistant message each"),
    ("label", "probability that `chosen` is preferred, at least 0.5; 0.5 is a tie"),
    ("score_margin", "logit of `label`; null where the label is 1"),
    ("weight", "how much the row counts in training"),
    ("source", "`judge` or `human`"),
    ("judge", "the judge's name; empty where people decided"),
    ("constitution", "id of the constitution below"),
    ("round", "round of the loop that made the row"),
    (
        "id, prompt_id, chosen_id, rejected_id",
        "ids of the preference, its prompt and its two samples in the ledger",
    ),
)


_CHOICE_COLUMNS = (
    ("prompt", "the conversation up to the assistant's turn: a list of `role` and `content`"),
    ("responses", "all that were set against each other: for each a list of one assistant message"),
    ("probabilities", "of each response, that it is the best of them; they sum to 1"),
    ("best", "place of the likeliest best among `responses`, from 0"),
    *(column for column in _COLUMNS if column[0] in ("weight", "source", "judge", "constitution", "round")),
    ("id, prompt_id, sample_ids", "ids of the preference, its prompt and its samples in the ledger"),
)


class SplitSize(NamedTuple):
    split: str
    kind: RowKind
    file: str
    """The split's Parquet file, by its name in the folder."""
    num_rows: int
    num_prompts: int


def render_dataset_card(
    *,
    sizes: Sequence[SplitSize],
    judges: Sequence[str],
    constitution: Constitution,
    tally: Tally | None,
    test_fraction: float,
    notes: Sequence[str] = (),
) -> str:
    """The card, which stands beside the folder of rows; `sizes` names the splits and their files from there."""
    kinds = list(dict.fromkeys(size.kind for size in sizes))
    return "\n".join(
        [
            *_front_matter(sizes),
            "",
            "# Preferences judged by a model",
            "",
            "Responses to one prompt, compared under written principles by a judge model.",
            "",
            "| split | rows | prompts |",
            "| --- | ---: | ---: |",
            *(f"| {size.split} | {size.num_rows} {size.kind} | {size.num_prompts} |" for size in sizes),
            "",
            f"A prompt belongs to one split only; a share of {test_fraction:g} is held out, drawn by prompt id.",
            *([f"Of what was compared: {tally}.", ""] if tally is not None else [""]),
            *([*(f"- {plain_text(note)}" for note in notes), ""] if notes else []),
            f"Judge: {', '.join(inline_code(judge) for judge in judges if judge) or 'not named'}.",
            "",
            "## Principles",
            "",
            f"Constitution {inline_code(constitution.name)}, id `{constitution.id}`,"
            f" sha256 of its file `{constitution.file_digest}`.",
            "",
            "| principle | weight | text |",
            "| --- | ---: | --- |",
            *(f"| {inline_code(p.id)} | {p.weight:g} | {plain_text(p.text)} |" for p in constitution.principles),
            "",
            "The file:",
            "",
            *_fenced(constitution.source),
            "",
            *(line for kind in kinds for line in _columns(kind)),
            "## Loading",
            "",
            "```python",
            "from datasets import load_dataset",
            "",
            *(
                f'{_VARIABLE[kind]} = load_dataset("path/to/this/folder"{_name_of(kind, kinds)}, split="train")'
                for kind in kinds
            ),
            "```",
            "",
            "pandas and pyarrow read a split's file, or the folder of rows with all of its splits:",
            "",
            "```python",
            "import pandas",
            "",
            *(f'{size.kind}_{size.split} = pandas.read_parquet("path/to/this/folder/{size.file}")' for size in sizes),
            "```",
            "",
            *(_TRL if "pairs" in kinds else ()),
            "`rlaif train --stage reward-model` reads the soft labels and the weights too.",
            "",
        ]
    )


_VARIABLE: dict[RowKind, str] = {"pairs": "preferences", "choices": "choices"}
_TRL = (
    "TRL's `DPOTrainer` and `RewardTrainer` take it as it is; they read `prompt`, `chosen` and"
    " `rejected`, and treat every label as certain:",
    "",
    "```python",
    "from trl import DPOConfig, DPOTrainer",
    "",
    'trainer = DPOTrainer("a/model", args=DPOConfig(output_dir="dpo"), train_dataset=preferences)',
    "trainer.train()",
    "```",
    "",
)


def _columns(kind: RowKind) -> list[str]:
    return [
        "## Columns" if kind == "pairs" else "## Columns of choices",
        "",
        "| column | meaning |",
        "| --- | --- |",
        *(
            f"| `{'`, `'.join(names.split(', '))}` | {meaning} |"
            for names, meaning in (_COLUMNS if kind == "pairs" else _CHOICE_COLUMNS)
        ),
        "",
    ]


def _name_of(kind: RowKind, kinds: Sequence[RowKind]) -> str:
    """The argument of `load_dataset` that names a kind of rows; none for the first kind, which is the default."""
    return "" if kind == kinds[0] else f', "{kind}"'


def _front_matter(sizes: Sequence[SplitSize]) -> list[str]:
    lines = [
        "---",
        "# license: name the licence here before you publish this folder",
        "pretty_name: Preferences judged by a model",
        "tags:",
        "- preference",
        "- rlaif",
        "- trl",
        "configs:",
    ]
    for number, kind in enumerate(dict.fromkeys(size.kind for size in sizes)):
        lines += [f"- config_name: {kind if number else 'default'}", "  data_files:"]
        for size in sizes:
            if size.kind == kind:
                lines += [f"  - split: {size.split}", f"    path: {size.file}"]
    return [*lines, "---"]


def _fenced(text: str) -> list[str]:
    """A code block that the text cannot close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}yaml", *text.rstrip("\n").splitlines(), fence]
