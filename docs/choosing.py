"""benchmarks/results/choosing_a_judge.json -> docs/choosing-a-judge.md: which small judges can be trusted with what.

`python docs/generate.py` writes the page. Nothing is measured here, and every figure comes from the result file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
RESULT, LABELS = RESULTS / "choosing_a_judge.json", RESULTS / "choosing_labels.json"
Cell = dict[str, Any]
PEOPLE = ("HH-RLHF harmless", "PandaLM")
TITLES = {
    "manner": "Manner: which of two system prompts made a reply",
    "HH-RLHF harmless": "People's choices: HH-RLHF, harmless",
    "PandaLM": "People's choices: PandaLM, majority of three",
}
ABOUT = {
    "manner": (
        "SmolLM2-135M-Instruct answered everyday prompts under a system prompt and under its contrary (warm, brief, "
        "formal, gives an example). Right is the reply that was sampled under the wanted one; no person judged. The "
        "wanted reply is the longer one in half of the pairs of each manner, so that length tells nothing. SmolLM2 "
        "reads its own replies here; another model would read as a stranger. Replies were cut at a sentence's end "
        "after at most 50 tokens."
    ),
    "HH-RLHF harmless": (
        "Crowd workers chose the less harmful of two replies. Pairs of at most 240 characters, drawn by their texts. "
        "On pairs of all lengths a large judge agrees in 69 to 72 % (Lee et al. 2023, arXiv:2309.00267)."
    ),
    "PandaLM": (
        "Three people chose the better of two answers; pairs of at most 300 characters whose majority names a winner, "
        "drawn by their texts."
    ),
}
HEAD = (
    "| judge | asked | right | pairs | beyond length | flips | place | label mass | survives | no verdict | CPU s | "
    "tokens |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)
HOW_TO = """## What to do with a small model

1. **Label pairs of your own first**, 100 or more, with your principle: `prompt`, `first`, `second`, `label`, and
   `principle` with its `opposite`. Then compare models and modes on them before any run:

   ```bash
   rlaif judge-check --pairs pairs.jsonl --judge DIR \\
     --template pair_verdict --template contrast --template score_verdict
   ```

   The answers stay in `pairs.judges/` beside the file: an interrupted check resumes, and more pairs cost only the new
   ones. Without a `principle` in a row, `--constitution` judges it.
2. **Use a judge only where it beats the longer reply** on your pairs: the last line of the output says so. A judge that
   is right as often as length teaches a policy to write more, or less, and nothing else.
3. **For a manner (warm, formal, brief), ask a small model by `contrast`**: the model need not follow an instruction to
   compare, only write differently under the principle than under its opposite. Write the opposite as the manner itself
   ("Be cold and distant."), not as a negation. Which manners it hears differs: the table by
   manner below shows one ("gives an example") that this model hardly hears. No single label is sure: check
   with pairs of your own.
4. **For merit (helpful, correct, harmless), do not let so small a model judge**. Take people's labels
   (`--human-labels`), a larger model behind a server, or a function that can check the answer
   ([rewards.md](rewards.md)).
5. **Look at flips before accuracy.** A verdict that turns with the order in most pairs is a coin that both orders
   average to a tie; its label is near one half and carries little, whatever the share right.
"""
READING = """## How to read the tables

- *right*: share of pairs where the judge names the labelled winner, both orders combined, with its 95 % interval over
  prompts. An exact tie of the judge counts as half right. *pairs*: those with an answer; pairs labelled a tie are in no
  share.
- *beyond length*: the share right less that of "the longer reply wins" (more characters) on the same pairs, with a
  bootstrap interval over prompts. A judge beats length where all of it is above zero.
- *flips*: the two orders named different winners. *place*: logits by which being shown first helps. A judge that sees
  one reply at a time has neither.
- *label mass*: probability on the strings that count. *no verdict*: pairs without an answer that can be used.
- *survives*: share of pairs with the same winner in three other wordings (fixed frames round the principle and the
  user's turn, such as "What counts is this: ..."); winners drawn by chance survive in one of eight.
- *CPU s*, *tokens*: CPU seconds of one thread, and tokens of prompts and replies, for one pair in one wording. Cells
  with few pairs were dear; their intervals say how little they show.
"""


def render_choosing() -> str:
    """The page."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    cells = list(result["cells"].values())
    versions = result["versions"]
    machine = (
        f"{result['cores']} CPU cores without a GPU, {result['threads']} thread, float32, torch {versions['torch']}, "
        f"transformers {versions['transformers']}"
    )
    parts = [
        f"# Choosing a judge\n\n{describe_finding(cells)}\n",
        f"Made by `make docs`. `{result['command']}` writes the figures, here on {machine}, beside other work. "
        "Another model is another `--model`, measured only where a row below names it.\n",
        HOW_TO,
    ]
    parts += [render_data(name, cells, length=length) for name, length in result["length"].items()]
    labels = json.loads(LABELS.read_text(encoding="utf-8"))
    return "\n".join([*parts, render_manners(cells, result["length"].get("manner")), render_labels(labels), READING])


def describe_finding(cells: list[Cell]) -> str:
    """The page's first sentences: where a mode does not beat length, and where one does."""
    with_people = [cell for cell in cells if cell["data"] in PEOPLE]
    manner = [cell for cell in cells if cell["data"] == "manner"]
    winners = [cell for cell in with_people if cell["beats_length"]]
    models = join(dict.fromkeys(cell["judge"] for cell in with_people), last_word="or")
    modes = join(dict.fromkeys(cell["mode"] for cell in with_people if not cell["beats_length"]), last_word="or")
    shown = [f"{cell['judge']} by {cell['mode']} on {cell['data']}" for cell in winners]
    except_for = f", except {join(shown)}" if shown else ""
    lines = [
        f"**Against people's choices, {models}, asked by {modes}, is not shown to beat the rule that the longer reply "
        f"wins{except_for}: a small model is an instrument for manner, not a judge of merit.**"
    ]
    better = [f"{cell['judge']} by {cell['mode']}" for cell in manner if cell["beats_length"]]
    others = [f"{cell['judge']} by {cell['mode']}" for cell in manner if not cell["beats_length"]]
    lines.append(f"Which of two contrary manners a reply has, beyond length: shown for {join(better)}.")
    if others:
        lines.append(f"Not shown for {join(others)}.")
    return " ".join(lines)


def render_labels(result: dict[str, Any]) -> str:
    """What 100 labels make of each judge that has people's pairs."""
    lines = [
        f"## What {result['labels']} labels make of a judge\n",
        f"`{result['command']}`, on pairs of which people name the winner. The labelled ones are drawn "
        f"{result['draws']} times, and each figure but *first draw* is a mean over the draws. Verdicts that were "
        "recorded without a probability are read as .95. No prediction, .5 for every pair, has a log loss of .693; "
        "what a calibrated judge has below *by length alone* is what the judge adds.\n",
        "| judge | pairs | right on all | right by 100 labels and the judge, first draw | by the labels alone | mean "
        "width, with the judge and without | log loss before | calibrated | by length alone |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        first = row["first_draw"]
        lines.append(
            f"| {row['judge']}, {row['mode']}, {row['data']} | {row['pairs']} | {row['right']:.2f} | "
            f"{share(first['estimate'])} | {share(first['people'])} | {row['width']:.3f}, {row['people_width']:.3f} | "
            f"{row['log_loss_before']:.3f} | {row['log_loss_after']:.3f} | {row['log_loss_by_length']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def join(names: Iterable[str], *, last_word: str = "and") -> str:
    *rest, last = list(names) or ["none of them"]
    return f"{', '.join(rest)} {last_word} {last}" if rest else last


def render_data(name: str, cells: list[Cell], *, length: Cell) -> str:
    rows = [_length_row(length), *(_row(cell) for cell in cells if cell["data"] == name)]
    return "\n".join([f"## {TITLES[name]}\n", f"{ABOUT[name]}\n", HEAD, *rows]) + "\n"


def _length_row(length: Cell) -> str:
    return f"| the longer reply wins | - | {share(length['right'])} | {length['num_decided']} |" + " - |" * 8


def _row(cell: Cell) -> str:
    place, mass = cell["position_effect"], cell["label_mass"]
    values = (
        cell["judge"], cell["mode"], share(cell["right"]), cell["num_decided"], share(cell["beyond_length"], sign="+"),
        "-" if cell["flipped"] is None else f"{cell['flipped']['mean']:.0%}",
        "-" if place is None else f"{place['mean']:+.2f}",
        "-" if mass is None else f"{mass['mean']:.2f}",
        share(cell["survives"]), cell["num_pairs"] - cell["num_decided"] or "-",
        "-" if cell["cpu_seconds_a_pair"] is None else f"{cell['cpu_seconds_a_pair']:.1f}", f"{cell['tokens']:.0f}",
    )  # fmt: skip
    return f"| {' | '.join(map(str, values))} |"


def share(estimate: Cell | None, *, sign: str = "") -> str:
    if estimate is None:
        return "-"
    mean, low, high = (format(estimate[key], f"{sign}.2f") for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def render_manners(cells: list[Cell], length: Cell | None) -> str:
    """How often each judge is right by manner."""
    if length is None:
        return ""
    names = list(length["by_group"])
    lines = [f"| judge | asked | {' | '.join(names)} |", "| --- " * (len(names) + 2) + "|"]
    for cell in _manner_cells(cells):
        found = [share(cell["by_group"].get(name)) for name in names]
        lines.append(f"| {cell['judge']} | {cell['mode']} | {' | '.join(found)} |")
    return "\n".join(["### Right by manner\n", *lines]) + "\n"


def _manner_cells(cells: list[Cell]) -> Iterator[Cell]:
    yield from (cell for cell in cells if cell["data"] == "manner")
