"""alpaca_eval judges pairs by the log-probabilities of one token, in 64 threads. Run by benchmarks/judging_peers.py."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ["OPENAI_API_KEY"], os.environ["OPENAI_API_BASE"] = "none", sys.argv[1]

import alpaca_eval  # noqa: E402  the address is read when it is imported
from alpaca_eval.annotators import PairwiseAnnotator  # noqa: E402
from pairs import make_pair, measure  # noqa: E402

TEMPLATE = Path(alpaca_eval.__file__).parent / "evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt"
CONFIG = """
judge:
  prompt_template: "{template}"
  fn_completions: "openai_completions"
  completions_kwargs:
    model_name: "stub-letter"
    max_tokens: 1
    temperature: 1
    logprobs: true
    top_logprobs: 5
    price_per_token: 0.0
    num_procs: 64
    client_kwargs: {{max_retries: 2}}
  fn_completion_parser: "logprob_parser"
  completion_parser_kwargs: {{numerator_token: "m", denominator_tokens: ["m", "M"], is_binarize: false}}
  completion_key: "completions_all"
  batch_size: 1
"""


def judge(numbers: range) -> int:
    pairs = [make_pair(number) for number in numbers]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "judge" / "configs.yaml"
        config.parent.mkdir()
        config.write_text(CONFIG.format(template=TEMPLATE))
        annotator = PairwiseAnnotator(
            annotators_config=str(config), caching_path=str(Path(folder) / "cache.json"), seed=0
        )
        done = annotator.annotate_pairs([{"instruction": q, "output_1": a, "output_2": b} for q, a, b in pairs])
    return sum(row["preference"] is not None for row in done)


if __name__ == "__main__":
    measure(judge)
