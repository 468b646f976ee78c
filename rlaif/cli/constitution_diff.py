"""`rlaif constitution diff`: what an edited principle file would decide otherwise, as text or JSON.

Parses options, asks `rlaif.preferences.edit_diff`, prints.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rlaif.cli.options import RunOption, RunsDirOption
from rlaif.console import console, show_text
from rlaif.errors import InputError

if TYPE_CHECKING:
    from rlaif.constitution.diff import Edit
    from rlaif.preferences.diff import EditEffect, PairChange
    from rlaif.preferences.edit_diff import Diff, FileDiff, Plan, Shown
    from rlaif.records import Estimate

MAX_TEXT = 300
"""Characters of a response that are shown; --json has no texts, and `rlaif audit show` has them whole."""


def diff(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OLD] [NEW]",
            help="Principle files, or their names. One: the edited file, against what the run was judged by. None: the "
            "run's own file as it is now.",
        ),
    ] = None,
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    prompts: Annotated[
        int | None,
        typer.Option(
            "--prompts", metavar="N", min=1, max=10**9, help="Ask about the pairs of at most so many prompts."
        ),
    ] = None,
    show: Annotated[
        int, typer.Option("--show", metavar="N", min=0, max=10**9, help="Flipped decisions to print in full.")
    ] = 3,
    count: Annotated[
        bool, typer.Option("--count", help="Say how many questions the judge would be asked, ask nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Judge a run's stored responses by an edited principle file: which decisions flip, and by which edit.

    The run's own judge is asked about principles with a new text, and about nothing else: an unchanged principle and
    a changed weight cost nothing. Answers are kept in the ledger; the run stays as it is.
    """
    if len(files or []) > 2:
        raise InputError(
            f"{len(files or [])} files are given", fix="name the old and the new one, or the new one alone"
        )
    old, new = ([None, None] + (files or []))[-2:]
    from rlaif.constitution.principles import load_constitution
    from rlaif.run.folder import open_run

    open_run(runs_dir, run)  # what is not there costs no import of torch
    for name in files or []:
        load_constitution(name)
    from rlaif.preferences.stage import diff_constitutions

    done = diff_constitutions(old, new, run=run, runs_dir=runs_dir, num_prompts=prompts, count_only=count)
    if as_json:
        typer.echo(json.dumps(_as_json(done), indent=1))
    elif done.result is None:
        console.print(show_text(_describe_count(done.plan)))
    else:
        _print(done.result, done, show=show)


def _as_json(done: Diff) -> object:
    asking = {
        "principles": done.plan.principles,
        "num_questions": done.plan.num_questions,
        "num_answered": done.plan.num_answered,
    }
    return {"to_ask": asking, "diff": None if done.result is None else done.result.model_dump(mode="json")}


def _describe_count(plan: Plan) -> str:
    if not plan.principles:
        return "nothing to ask: no principle has a text that this run's judge has not answered"
    names = ", ".join(plan.principles)
    return (
        f"{plan.num_questions - plan.num_answered} questions to ask about {names}; {plan.num_answered} more are "
        "answered in the ledger"
    )


def _print(result: FileDiff, done: Diff, *, show: int) -> None:
    for line in _describe_diff(result):
        console.print(show_text(line))
    if result.preferences.edits:
        console.print(_table(result), soft_wrap=False)
    for flip in result.preferences.flips[:show]:
        console.print()
        for line in _describe_flip(flip, done.shown[flip.sample_ids], result):
            console.print(show_text(line))
    left = len(result.preferences.flips) - show
    if show and left > 0:
        console.print(show_text(f"\nand {left} more: add --show {len(result.preferences.flips)}, or --json"))


def _describe_diff(result: FileDiff) -> Iterator[str]:
    found = result.preferences
    prompts = f"{result.num_prompts} of {result.num_prompts_of_run}" if (
        result.num_prompts < result.num_prompts_of_run
    ) else str(result.num_prompts)  # fmt: skip
    yield f"run {result.run}, round {result.round}: {found.num_pairs} pairs of {prompts} prompts, judge {result.judge}"
    yield f"old: {result.old.name}; new: {result.new.name}; asked {result.num_asked} questions"
    if result.asking.dropped:
        yield f"answers under the new texts: {result.asking}"
    if not found.edits:
        yield "the files say the same: no principle that counts has another text or weight"
        return
    if found.num_failed:
        yield f"{found.num_failed} pairs have no label under one of the files, because a judgement failed"
    if found.flipped is not None:
        together = f", {found.num_flipped_together} by no edit alone" if found.num_flipped_together else ""
        of = f"{len(found.flips)} of {found.num_pairs - found.num_failed}"
        yield f"decisions that flip: {of}, {_format_share(found.flipped)}{together}"
    if found.flips:
        yield f"the edit is {result.tested}"
    if found.label_move is not None:
        move = found.label_move
        yield f"labels move by {move.mean:.3f} on average (95 % interval {move.low:.3f} to {move.high:.3f})"
    if result.is_drawn:
        yield (
            "the judge draws its answers, so that some decisions flip by chance: `rlaif judge-check --sentinels` shows "
            "how far its answers to one question lie apart"
        )
    yield f"preferences, old: {found.old_tally}"
    yield f"preferences, new: {found.new_tally}"
    yield (
        f"training would lose {found.num_only_old} pairs and get {found.num_only_new} others; in "
        f"{found.num_flipped_kept} of the rest chosen and rejected change places"
    )
    if result.has_labels:
        yield "people labelled some of these pairs: their labels and their calibration are left out on both sides"


def _format_share(share: Estimate) -> str:
    return f"{share.mean:.1%} ({share.low:.1%} to {share.high:.1%}; n {share.n})"


def _table(result: FileDiff) -> Table:
    table = Table("principle", "edit", "flips, by itself", "turns in its own verdict", box=None, pad_edge=False)
    for effect in result.preferences.edits:
        table.add_row(*map(show_text, _cells(effect)))
    return table


def _cells(effect: EditEffect) -> list[str]:
    alone = "not defined" if effect.flips is None else f"{effect.num_flips}, {_format_share(effect.flips)}"
    own = "-" if effect.own_flips is None else _format_share(effect.own_flips)
    return [effect.edit.principle_id, _describe_edit(effect.edit), alone, own]


def _describe_edit(edit: Edit) -> str:
    if edit.old is None or edit.new is None:
        return edit.kind
    if edit.old.weight == edit.new.weight:
        return edit.kind
    return edit.kind.replace("weight", f"weight {edit.old.weight:g} to {edit.new.weight:g}")


def _describe_flip(flip: PairChange, shown: Shown, result: FileDiff) -> Iterator[str]:
    by = ", ".join(flip.flipped_by) if flip.flipped_by else "several edits together"
    yield f"{flip.old_label:.2f} to {flip.new_label:.2f} that the first is better, flipped by {by}"
    yield f"  prompt  {_cut(shown.prompt.messages[-1].content)}"
    yield f"  first   {_cut(shown.first.text)}"
    yield f"  second  {_cut(shown.second.text)}"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT else f"{line[:MAX_TEXT]} ..."
