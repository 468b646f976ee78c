"""How long `rlaif generate-prefs` takes for 500 prompts x 4 samples, 6 pairs a prompt, one principle, both orders.

    python benchmarks/generate_prefs.py

Runs the command as a user would, in an empty folder, and puts the floor beside it: the arithmetic of
the same tokens (2 x parameters x tokens) at the speed of this machine's matrix product.
Writes benchmarks/results/generate_prefs.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from rlaif import frontdesk
from rlaif.ledger.store import Ledger
from rlaif.records import Judgement, Question, Sample

RESULTS = Path(__file__).parent / "results" / "generate_prefs.json"
CONSTITUTION = """\
name: one-principle
description: What the benchmark asks.
principles:
  - id: courteous
    text: Prefer the reply that is polite.
"""


def matrix_flops(size: int = 1024, repeats: int = 20) -> float:
    """Floating-point operations per second of a large float32 matrix product."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    a @ b
    started = time.perf_counter()
    for _ in range(repeats):
        a @ b
    return 2 * size**3 * repeats / (time.perf_counter() - started)


def parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return sum(int(torch.tensor(shape).prod()) for name, shape in shapes.items() if "embed_tokens" not in name)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "one.yaml").write_text(CONSTITUTION)
        command = [
            sys.executable, "-m", "rlaif", "generate-prefs", "--run", "bench", "--set", "constitution=one.yaml",
            "--set", "prompts.num_prompts=500", "--set", "sampling.num_samples=4", "--set", "sampling.num_pairs=6",
        ]  # fmt: skip
        started = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True)
        seconds = time.perf_counter() - started
        with Ledger.open(Path(folder) / "runs" / "ledger.sqlite", read_only=True) as ledger:
            samples = ledger.used("bench", 0, "2_samples", Sample)
            judgements = ledger.used("bench", 0, "3_judgements", Judgement)
            questions = ledger.used("bench", 0, "3_judgements", Question)
    judge_tokens = sum(j.observed.prompt_tokens + j.observed.reply_tokens for j in judgements)
    policy_tokens = sum(s.observed.reply_tokens for s in samples) + sum(
        s.observed.prompt_tokens for s in samples if s.index == 0
    )
    speed = matrix_flops()
    floor = 2 * (
        judge_tokens * parameters(frontdesk.JUDGE_DIR) + policy_tokens * parameters(frontdesk.POLICY_DIR)
    ) / speed  # fmt: skip
    result = {
        "seconds": round(seconds, 1),
        "target_seconds": 120,
        "samples": len(samples),
        "questions": len(questions),
        "judgements": len(judgements),
        "judge_tokens": judge_tokens,
        "policy_tokens": policy_tokens,
        "floor_seconds": round(floor, 2),
        "ratio_to_floor": round(seconds / floor, 1),
        "matrix_gflops": round(speed / 1e9),
        "threads": torch.get_num_threads(),
        "command": "python benchmarks/generate_prefs.py",
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
