"""Measures the shipped judge and policy: python benchmarks/frontdesk_judge.py [--write-cards].

Two model folders in; a table of figures against their targets out, and on request both model cards.
Exits with 1 when a target is missed. Does not train.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from rlaif.frontdesk import JUDGE_DIR, truth
from rlaif.frontdesk.ask import load_folder
from rlaif.frontdesk.cards import figures_line, principle_table, summary_table
from rlaif.frontdesk.judge_quality import by_principle, summarise
from rlaif.frontdesk.measure_models import measure_judge, measure_policy, write_cards
from rlaif.frontdesk.train_models import DEFAULT_MADE

MEAN_CLEAR, WORST_CLEAR, CLEAR_SHARE, POSITION_WITHIN, EOS_RATE = 0.97, 0.93, 0.20, 0.2, 0.97


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=JUDGE_DIR.parent, help="folder with policy/ and judge/")
    parser.add_argument(
        "--pairs", type=int, default=200, help="pairs per source; each is asked about every principle in both orders"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
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
        position = summarise(rows).position
        checks += [
            (f"clear pairs right, mean of principles, {source}", mean, mean >= MEAN_CLEAR),
            (f"clear pairs right, worst principle, {source}", worst, worst >= WORST_CLEAR),
            (
                f"position effect, {source}", position,
                abs(position - truth.POSITION_BIAS) <= POSITION_WITHIN,
            ),
        ]  # fmt: skip
    for name, value, is_met in checks:
        print(f"{'met   ' if is_met else 'MISSED'} {name}: {value:.3f}")
    print("policy", {name: round(value, 1) for name, value in start.measures.items()})
    if options.write_cards:
        write_cards(options.models, policy=start, judge=figures, made=DEFAULT_MADE)
    return 0 if all(is_met for _, _, is_met in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
