"""Measures the shipped judge and policy: python benchmarks/frontdesk_judge.py [--write-cards] [--others DIR ...].

Two model folders in; a table of figures against their targets out, and on request both model cards. `--others`
names judges trained from other seeds, for the spread. Exits with 1 when a target is missed. Does not train.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from rlaif.frontdesk import JUDGE_DIR, truth
from rlaif.frontdesk.ask import load_folder
from rlaif.frontdesk.cards import figures_line, principle_table, summary_table
from rlaif.frontdesk.judge_quality import Figures, by_principle, judge_both_orders, share_right, summarise
from rlaif.frontdesk.measure_models import measure_judge, measure_policy, write_cards
from rlaif.frontdesk.train_models import DEFAULT_MADE

MEAN_CLEAR, WORST_CLEAR, CLEAR_FLIPS, WORDINGS_WITHIN = 0.98, 0.95, 0.03, 0.01
CLEAR_SHARE, EOS_RATE = 0.20, 0.97
BIAS_WITHIN, SLOPE_WITHIN = 0.15, 0.10


_PER_PAIR = 2 * len(truth.ATTRIBUTES)
"""Rows of one pair: every attribute under both poles."""


def _biases(figures: Figures, source: str) -> list[tuple[str, float, bool]]:
    """The planted effects as they came back, and the flips of clear pairs."""
    return [
        (f"position, {source}", figures.position, abs(figures.position - truth.POSITION_BIAS) <= BIAS_WITHIN),
        (f"length, {source}", figures.length_slope, abs(figures.length_slope - truth.LENGTH_BIAS) <= BIAS_WITHIN),
        (
            f"gap slope, {source}", figures.gap_slope,
            abs(figures.gap_slope / truth.K_PER_STEP - 1) <= SLOPE_WITHIN,
        ),
        (f"flips of clear pairs, {source}", figures.clear_flips, figures.clear_flips <= CLEAR_FLIPS),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=JUDGE_DIR.parent, help="folder with policy/ and judge/")
    parser.add_argument(
        "--pairs", type=int, default=200, help="pairs per source; each is asked about every principle in both orders"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="judge folders of other training seeds")
    parser.add_argument("--write-cards", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    policy, judge = load_folder(options.models / "policy"), load_folder(options.models / "judge")
    start = measure_policy(policy, seed=options.seed, n=max(500, options.pairs))
    figures = measure_judge(judge, policy, seed=options.seed, n=options.pairs)
    print(summary_table(figures), "", principle_table(figures), "", sep="\n")
    checks = [("policy's replies that end by themselves", start.eos_rate, start.eos_rate > EOS_RATE)]
    checks += [
        (f"clear share of the policy's pairs, {name}", share, share >= CLEAR_SHARE)
        for name, share in start.clear_shares.items()
    ]
    for source, rows in (("drawn", figures.drawn), ("policy", figures.policy)):
        print(source, figures_line(summarise(rows)))
        per = [summarise(some) for some in by_principle(rows).values()]
        mean, worst = sum(f.clear for f in per) / len(per), min(f.clear for f in per)
        trained, held_out = (
            share_right([row for row in rows if row.is_clear and row.wording_held_out == unseen])
            for unseen in (False, True)
        )
        checks += [
            (f"clear pairs right, mean of principles, {source}", mean, mean >= MEAN_CLEAR),
            (f"clear pairs right, worst principle, {source}", worst, worst >= WORST_CLEAR),
            (f"held-out wordings worse by, {source}", trained - held_out, trained - held_out <= WORDINGS_WITHIN),
            *_biases(summarise(rows), source),
        ]
    print("scores", figures.scores)
    others = []
    for number, folder in enumerate(options.others, start=1):
        own, _ = judge_both_orders(
            load_folder(folder), [row.pair for row in figures.policy[::_PER_PAIR]], seed=options.seed
        )
        others.append(summarise(own))
        print(f"other {number}", figures_line(others[-1]))
        checks += _biases(others[-1], f"other judge {number}, policy")
    for name, value, is_met in checks:
        print(f"{'met   ' if is_met else 'MISSED'} {name}: {value:.3f}")
    print("policy", {name: round(value, 1) for name, value in start.measures.items()})
    if options.write_cards:
        write_cards(options.models, policy=start, judge=figures, made=DEFAULT_MADE, others=others)
    return 0 if all(is_met for _, _, is_met in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
