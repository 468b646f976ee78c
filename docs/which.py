"""benchmarks/results/study_curves.json and others -> docs/which-method.md: when to use which training method.

`python docs/generate.py` writes the page. Nothing is measured here, and every figure comes from a result file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
Result = dict[str, Any]
NUM_PLANNED = 5

HEAD = """# Which method

Made by `make docs`. Every figure is our own, from the front desk's small models on two CPU cores; a large model may
differ. What each method computes is in [methods.md](methods.md), every measurement in [measured.md](measured.md).

## By what you have

| you have | use | why |
| --- | --- | --- |
"""
METHOD = """
Success is strict: a sampled reply to a held-out prompt must be correct, courteous, brief, calm and discreet at
once{start}. Demonstrations cost {demo:g} and a {label} on one response costs {price:g}; people are simulated. With demo
noise .1 a demonstration lacks each of the five qualities with probability .1, so perfect imitation succeeds in 59 %.
`sft+rl@0.4` spends four tenths of its budget on demonstrations and the rest on {label}s, in that order. Rewards train
by `{algorithm}`. The rules were fixed before the study; passes and KL penalty were chosen on a seed outside it.
"""
AGAIN = """
Ask the question for your own prices with `rlaif study curves` ([commands.md](commands.md)): other recipes, budgets and
noise, and ratings, choices or a judge's scores in the place of thumbs. It writes a page, a picture and data, and
resumes.

## What the study does not say

- The starting policy succeeds sometimes, so rewards have something to reinforce from the first step. Where it never
  does, training by rewards alone stays where it is, until demonstrations, or a reward with partial credit
  (`--label-kind rating`), give it a beginning.
- Simulated people rate without error and never tire. A reward model or a judge in their place can be exploited:
  [over-optimisation.md](over-optimisation.md).
- One small model and one task. Five seeds or fewer make intervals wide, and those read off a fitted curve too narrow.
"""


def render_which() -> str:
    """The page."""
    ift, over, learning = (_read(name) for name in ("ift", "over_optimisation", "ppo_learning"))
    rows = [_describe_row(*row) for row in _guidance(ift, over, learning, steering=_read("steering"))]
    parts = [HEAD, "\n".join(rows), "\n"]
    study = _read("study_curves") if (RESULTS / "study_curves.json").is_file() else None
    if study is not None:
        parts += _study_section(study)
    return "".join(parts)


def _read(name: str) -> Result:
    found: Result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _describe_row(have: str, use: str, why: str) -> str:
    return f"| {have} | {use} | {why} |"


def _guidance(ift: Result, over: Result, learning: Result, *, steering: Result) -> Iterator[tuple[str, str, str]]:
    yield (
        "demonstrations alone",
        "`sft`; `ift` where replies are long and early mistakes spread",
        f"the default `ift` lowers the loss after the model's own words by {_ift_gain(ift):.0%} against `sft` on "
        "digits to be reversed; on Frozen Lake by nothing",
    )
    yield (
        "demonstrations, and doubts about `sft`",
        "`irft`, or `rft` for a reward model besides",
        "both end at the demonstrations' distribution, as `sft` does on enough of them; no figure of ours shows a gain",
    )
    yield (
        "principles and a judge",
        "`ppo` or `rloo` on a reward model of the judge's pairs",
        f"{steering['targets'][0]['what']}: {steering['targets'][0]['said']} ([steering.md](steering.md))",
    )
    yield (
        "pairs, and no time for a reward model",
        "`dpo`, few passes",
        "the same optimum on all pairs; on few it pushes replies that only ever won without bound",
    )
    yield (
        "thumbs",
        "a reward model on them and `rloo`; `kto` where good or bad is all that matters",
        "`kto` moves all mass to replies above its threshold, however little better they are than others",
    )
    yield (
        "answers that can be verified, or people who rate while it trains",
        "`rloo` with a function in `ppo.rewards` ([rewards.md](rewards.md))",
        "no reward model, so nothing to exploit; see the study below",
    )
    yield (
        "a reward model from few or noisy labels",
        "the guards' defaults, or `on_alarm: roll_back`",
        f"unguarded, truth lost {over['fall']:.0%} of its gain after its peak while the reward still rose",
    )
    yield (
        "five minutes",
        "the demo's 30 steps of `ppo`",
        f"they reach {learning['share']:.1%} of what 300 do",
    )


def _ift_gain(ift: Result) -> float:
    arms = ift["reversal"]["arms"]
    ours, sft = (arms[name]["self_fed_nll"]["mean"] for name in ("paper, lambda .5, gamma .95", "sft"))
    return float(1 - ours / sft)


def _study_section(study: Result) -> Iterator[str]:
    prices, start = study["prices"], study["start"]
    yield "\n## Demonstrations first, rewards later?\n"
    yield METHOD.format(
        start="" if start is None else f"; the starting policy manages that in {start:.1%}",
        demo=prices["demo_cost"],
        label=prices["label_kind"],
        price=prices["label_cost"],
        algorithm=prices["algorithm"],
    )
    yield "\n![Success over budget by training method, a panel for each demo noise](which-method.svg)\n"
    seeds = min(len(curve["seeds"]) for panel in study["panels"] for curve in panel["curves"].values())
    if seeds < NUM_PLANNED:
        yield f"\n**Of {NUM_PLANNED} planned seeds some recipes have {seeds} so far: the tables say which.**\n"
    for panel in study["panels"]:
        yield from _panel(panel)
    yield AGAIN


def _panel(panel: Result) -> Iterator[str]:
    noise = panel["demo_noise"]
    title = "Perfect demonstrations" if noise == 0 else f"Demo noise {noise:g}"
    budgets = sorted({budget for curve in panel["curves"].values() for budget in curve["budgets"]})
    yield f"\n### {title}\n\n| recipe | seeds | {' | '.join(f'{budget:g}' for budget in budgets)} | levels off at |\n"
    yield f"| --- | --- | {' | '.join('---:' for _ in budgets)} | ---: |\n"
    for recipe, curve in panel["curves"].items():
        said = [_cell(curve, budget) for budget in budgets]
        yield f"| `{recipe}` | {len(curve['seeds'])} | {' | '.join(said)} | {_range(curve['asymptote'])} |\n"
    yield "\n"
    for decision in panel["decisions"]:
        found = [
            f"{one['about']}: {one['estimate']['mean']:+.3f} [{one['estimate']['low']:+.3f}, "
            f"{one['estimate']['high']:+.3f}]"
            for one in decision["findings"]
            if one["estimate"]
        ]
        said = "; ".join(found) or decision["note"]
        said = said[0].upper() + said[1:]
        yield f"- {decision['claim'][0].upper()}{decision['claim'][1:]}: **{decision['verdict']}**. {said}.\n"
    for one in panel["overtakings"]:
        if {one["first"], one["second"]} <= {"sft", "rl"} or (one["first"], one["second"]) == ("sft", "sft+rl@0.4"):
            budget = one["budget"]
            yield f"- `{one['second']}` overtakes `{one['first']}` at a budget of {_budget(budget)}.\n"


def _cell(curve: Result, budget: float) -> str:
    if budget not in curve["budgets"]:
        return ""
    k = curve["budgets"].index(budget)
    spread = curve["intervals"][k]
    said = f"{curve['means'][k]:.0%}"
    return f"{said} [{max(0, spread['low']):.0%}, {min(1, spread['high']):.0%}]" if spread else said


def _range(found: Result) -> str:
    if found["value"] is None:
        return ""
    said = f"{found['value']:.0%}"
    return said if found["low"] is None else f"{said} [{found['low']:.0%}, {found['high']:.0%}]"


def _budget(found: Result) -> str:
    said = f"{found['value']:,.0f}"
    return said if found["low"] is None else f"{said} [{found['low']:,.0f}, {found['high']:,.0f}]"
