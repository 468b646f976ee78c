"""`rlaif audit replay`: a stored question asked again, of the same judge or another one, and both answers compared.

Parses options, asks `rlaif.audit.replay`, prints. Stores nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.audit_print import passing_over, print_line
from rlaif.cli.options import LedgerOption, RunsDirOption
from rlaif.console import Progress, say, show_text
from rlaif.errors import InputError, Interrupted

if TYPE_CHECKING:
    from rlaif.audit.replay import Answer, Replay, ReplayCost, Replayed
    from rlaif.audit.replay_draw import Draw
    from rlaif.ledger.store import Ledger
    from rlaif.records import Estimate

SHOWN = 10


def replay(
    id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="Id of a comparison, judgement or question, or how it begins: all of its orders are asked again.",
            show_default=False,
        ),
    ] = None,
    num: Annotated[
        int | None,
        typer.Option("--num", metavar="N", min=1, max=10_000, help="Without ID: so many answers, drawn at random."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of the draw.")] = 0,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="MODEL",
            help="Another judge: a model folder, a hub id, or MODEL@URL for one behind a server. [default: the judge "
            "that answered, as its run configured it]",
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            "--template", metavar="NAME", help="Another judge template, a file or a name. [default: the stored prompt]"
        ),
    ] = None,
    principle: Annotated[
        str | None, typer.Option("--principle", metavar="ID", help="With --num: only answers under this principle.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="With --num: only answers that this run used.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Prove the prompts, count questions and tokens, ask nobody.")
    ] = False,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Ask a judge stored questions again and compare verdicts, log-probabilities and reasons with the stored ones.

    Each exact prompt is proven byte for byte first. What it will cost is said before a judge is asked. Nothing is
    stored: the ledger's answer stays as it is.
    """
    if (id is None) == (num is None):
        raise InputError("give one of ID and --num", fix="an id for one decision, --num N for a sample of N answers")
    if id is not None and principle is not None:
        raise InputError("--principle goes with --num", fix="leave it out")
    from rlaif.audit.ledger_file import find_damaged, open_to_read

    damaged = find_damaged(runs_dir) if run is None and ledger is None else []
    with passing_over(damaged), open_to_read(runs_dir, run=run, ledger=ledger) as opened:
        draw = _find(opened, id, num=num, seed=seed, template=template, principle=principle, run=run)
        found = _ask(opened, draw, judge=judge, runs_dir=runs_dir, dry_run=dry_run)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    for line in describe_replay(found, is_sample=num is not None):
        print_line(show_text(line))


def _find(
    opened: Ledger, id: str | None, *, num: int | None, seed: int, template: str | None, principle: str | None,
    run: str | None,
) -> Draw:  # fmt: skip
    from rlaif.audit.replay_draw import draw_items, find_items
    from rlaif.constitution.render import load_template

    other = None if template is None else load_template(template)
    if id is not None:
        return find_items(opened, id, template=other)
    return draw_items(opened, num=num or 1, seed=seed, principle=principle, run=run, template=other)


def _ask(opened: Ledger, draw: Draw, *, judge: str | None, runs_dir: Path, dry_run: bool) -> Replay:
    from rlaif.audit.replay import ask_again
    from rlaif.audit.replay_judge import OwnJudges, find_other_judge

    other = None if judge is None else find_other_judge(judge, environ=os.environ)
    own = OwnJudges(opened, runs_dir)
    label = "" if dry_run or len(draw.items) < 20 else "replay"
    try:
        with Progress(label, len(draw.items), unit="questions") as progress:
            return ask_again(
                draw, ledger=opened, find_judge=lambda *asked: other or own.find(*asked), announce=_say_cost,
                dry_run=dry_run, on_batch=lambda asked, failed: progress.advance(asked, failed=failed),
            )  # fmt: skip
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted; nothing was stored", fix="run the same command again") from error


def _say_cost(cost: ReplayCost) -> None:
    cost_at_most = "" if cost.cost_at_most is None else f", {cost.cost_at_most:.4f} at most by the configured prices"
    how = "estimated" if cost.is_estimated else "measured"
    questions = f"{cost.num_questions} question{'s' * (cost.num_questions > 1)}"
    say(
        f"{cost.judge}: {questions}, {cost.prompt_tokens} prompt tokens ({how}), at most {cost.reply_tokens_at_most} "
        f"new ones{cost_at_most}"
    )


def describe_replay(found: Replay, *, is_sample: bool) -> Iterator[str]:
    """What came of it, for people."""
    if found.left_out:
        yield f"left out: {', '.join(f'{reason} {count}' for reason, count in found.left_out.items())}"
    proven = "each prompt proven byte for byte" if found.is_exact else "by another template, so with another prompt"
    if not found.replayed:
        yield f"{sum(cost.num_questions for cost in found.costs)} questions, {proven}; nobody was asked"
        return
    yield f"asked again: {len(found.replayed)} questions of {', '.join(found.judges)}, {proven}"
    if found.fingerprint_changed:
        yield f"not the judge that answered: its {', '.join(found.fingerprint_changed)} differ"
    if found.num_drawn:
        yield f"{found.num_drawn} stored answers were drawn, so an unchanged judge may answer otherwise"
    if found.failed:
        yield f"failed now: {', '.join(f'{cause} {count}' for cause, count in found.failed.items())}"
    if is_sample:
        yield f"same verdict: {_format_share(found.same)}"
        if found.mean_move is not None:
            move = found.mean_move
            yield f"logits moved by {move.mean:.3f} on average (95 % interval {move.low:.3f} to {move.high:.3f})"
        same_words = sum(one.same_reason is True for one in found.replayed)
        yield f"same reason, word for word: {same_words} of {len(found.replayed)}"
    other = [one for one in found.replayed if one.is_same is not True] if is_sample else list(found.replayed)
    for one in other[:SHOWN]:
        yield from _describe_one(one)
    if len(other) > SHOWN:
        yield f"and {len(other) - SHOWN} more that differ: --json has all"


def _describe_one(one: Replayed) -> Iterator[str]:
    same = {True: "the same verdict", False: "ANOTHER VERDICT", None: "no answer now"}[one.is_same]
    moved = "" if one.move is None else f", logit moved by {one.move:.4f}"
    yield f"judgement {one.judgement_id} under {', '.join(one.principle_ids)}: {same}{moved}"
    yield f"  then  {_describe_answer(one.then)}"
    yield f"  now   {_describe_answer(one.now)}"


def _describe_answer(answer: Answer) -> str:
    if answer.failure is not None:
        return f"{answer.failure}: {' '.join(answer.raw_reply.split())[:200]}"
    known = ", ".join(f"{name} {x:.4f}" for name, x in answer.logprobs.items())
    reason = "" if answer.reason is None else f"; {' '.join(answer.reason.split())}"
    return f"{answer.outcome}{f' ({known})' if known else ''}{reason}"


def _format_share(share: Estimate | None) -> str:
    if share is None:
        return "not known"
    return f"{share.mean:.1%} (95 % interval {share.low:.1%} to {share.high:.1%}; {share.n} prompts)"
