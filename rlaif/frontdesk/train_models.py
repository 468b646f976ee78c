"""Makes the tokenizer, the start policy and the judge from scratch: python -m rlaif.frontdesk.train_models.

A seed in, two model folders out, each loadable by AutoModelForCausalLM and AutoTokenizer. Both start from one base.
Bounded by steps, not by time, so that the same seed on the same machine gives the same weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from rlaif.frontdesk import JUDGE_DIR
from rlaif.frontdesk.ask import load_folder
from rlaif.frontdesk.measure_models import measure_judge, measure_policy, write_cards
from rlaif.frontdesk.tiny_llama import make_model, save_model
from rlaif.frontdesk.tokenizer import build_tokenizer
from rlaif.frontdesk.train_base import REPLIES_PER_BATCH, train_base
from rlaif.frontdesk.train_judge import BLOCKS_PER_PAIR, PAIRS_PER_BATCH, train_judge
from rlaif.frontdesk.train_marks import ROWS_PER_BATCH, train_marks
from rlaif.frontdesk.wordings import principle_vocabulary

JUDGE_STEPS = 2500
BASE_STEPS, BASE_DRILL_STEPS = 1600, 400
POLICY_STEPS = 2500
_BASE = f"seed 0, {BASE_STEPS} steps of {REPLIES_PER_BATCH} replies, {BASE_DRILL_STEPS} of them look-up drills; then "
DEFAULT_MADE = (
    f"{_BASE}{POLICY_STEPS} steps of {ROWS_PER_BATCH} replies with a reader's mark, right or wrong, behind them",
    f"{_BASE}{JUDGE_STEPS} steps of {PAIRS_PER_BATCH} pairs or single replies x {BLOCKS_PER_PAIR} principles",
)
"""How the shipped weights were made, for their cards."""
MEASURE_SEED, MEASURED_PROMPTS, MEASURED_PAIRS = 7, 500, 200
REPORT_EVERY = 50
SAVE_EVERY = 500


def _reporter(name: str, save: Callable[[], None]) -> Callable[[int, str], None]:
    start = time.monotonic()

    def report(step: int, line: str) -> None:
        print(f"{name} step {step} {time.monotonic() - start:.0f} s {line}", flush=True)
        if step % SAVE_EVERY == 0:
            save()

    return report


def make_base(folder: Path, *, seed: int, num_steps: int) -> None:
    """Train the model that policy and judge start from and write its folder, also every 500 steps."""
    tokenizer = build_tokenizer()
    model = make_model(tokenizer, seed=seed)

    def save() -> None:
        save_model(model, tokenizer, folder, max_new=64)

    train_base(
        model, tokenizer, seed=seed, num_drill_steps=min(BASE_DRILL_STEPS, num_steps // 3),
        num_steps=num_steps, report_every=REPORT_EVERY, report=_reporter("base", save),
    )  # fmt: skip
    save()


def make_policy(folder: Path, *, base_dir: Path, seed: int, num_steps: int) -> None:
    """Continue to train the base with readers' marks, and write the policy's folder."""
    tokenizer = build_tokenizer()
    model = LlamaForCausalLM.from_pretrained(base_dir, dtype=torch.float32)

    def save() -> None:
        save_model(model, tokenizer, folder, max_new=64)

    train_marks(
        model, tokenizer, seed=seed, num_steps=num_steps, report_every=REPORT_EVERY,
        report=_reporter("policy", save),
    )  # fmt: skip
    save()


def make_judge(folder: Path, *, base_dir: Path, seed: int, num_steps: int) -> None:
    """Train the judge from the base and write its folder, with the vocabulary of principles it knows.

    The base knows the words of the world and where a notice gives which fact. A judge that starts from scratch does
    not learn correctness in the same number of steps.
    """
    tokenizer = build_tokenizer()
    model = LlamaForCausalLM.from_pretrained(base_dir, dtype=torch.float32)

    def save() -> None:
        save_model(model, tokenizer, folder, max_new=48)
        vocabulary = json.dumps(principle_vocabulary(), indent=0) + "\n"
        (folder / "principle_vocabulary.json").write_text(vocabulary, encoding="utf-8")

    train_judge(
        model, tokenizer, seed=seed, num_steps=num_steps, report_every=REPORT_EVERY,
        report=_reporter("judge", save),
    )  # fmt: skip
    save()


def measure_and_describe(root: Path) -> None:
    """Measure both folders under root and write their cards."""
    policy, judge = load_folder(root / "policy"), load_folder(root / "judge")
    policy_figures = measure_policy(policy, seed=MEASURE_SEED, n=MEASURED_PROMPTS)
    judge_figures = measure_judge(judge, policy, seed=MEASURE_SEED, n=MEASURED_PAIRS)
    write_cards(root, policy=policy_figures, judge=judge_figures, made=DEFAULT_MADE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=JUDGE_DIR.parent, help="folder that gets policy/ and judge/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["policy", "judge"], help="make one of the two")
    parser.add_argument("--base", type=Path, help="folder of the base that both start from; it is made if missing")
    parser.add_argument("--base-steps", type=int, default=BASE_STEPS)
    parser.add_argument("--policy-steps", type=int, default=POLICY_STEPS)
    parser.add_argument("--judge-steps", type=int, default=JUDGE_STEPS)
    parser.add_argument("--threads", type=int, default=1, help="more threads: other last bits, other weights")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        base = options.base or Path(scratch) / "base"
        if not (base / "config.json").is_file():
            make_base(base, seed=options.seed, num_steps=options.base_steps)
        if options.only != "judge":
            make_policy(options.out / "policy", base_dir=base, seed=options.seed, num_steps=options.policy_steps)
        if options.only != "policy":
            make_judge(options.out / "judge", base_dir=base, seed=options.seed, num_steps=options.judge_steps)
    if options.only is None:
        measure_and_describe(options.out)


if __name__ == "__main__":
    main()
