"""The front desk: a small closed world with a policy and a judge trained from scratch.

Prompts, replies, wordings and the truth about every reply live here, beside the two shipped models.
Known only to the fronts, tests and benchmarks; no stage of the pipeline imports it.
"""

from pathlib import Path

POLICY_DIR = Path(__file__).parent / "policy"
JUDGE_DIR = Path(__file__).parent / "judge"
