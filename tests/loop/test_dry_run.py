"""What `--dry-run` counts before anything is spent."""

from __future__ import annotations

import pytest

from rlaif.config.load import parse_config
from rlaif.errors import RlaifError
from rlaif.loop.dry_run import describe_estimate, estimate_run

RUN = """
prompts: {num_prompts: 10}
sampling: {num_samples: 3, num_pairs: 2}
evaluation: {num_prompts: 7, num_samples: 2, best_of: 4}
judge: {max_calls: 190, model: {engine: scripted, path: "rlaif.models.scripted_engine:prefer_longer"}, template: pair}
"""


def test_a_run_counts_the_evaluations_questions_and_generate_prefs_does_not():
    config = parse_config(RUN, where="x")
    estimate = estimate_run(config, evaluates=True)
    # two principles, both orders; the evaluation compares two pairs of the policies and one best-of-4
    assert estimate.judges[0].num_questions == 10 * 2 * 2 * 2
    assert estimate.evaluation is not None
    assert estimate.evaluation.num_questions == 7 * 3 * 2 * 2
    lines = list(describe_estimate(estimate._replace(num_rounds=2)))
    assert any(line.startswith("evaluation, by rlaif.models.scripted_engine") for line in lines)
    assert any("at most 328 questions" in line for line in lines)
    assert not any("max_calls" in line for line in lines)
    assert "one judge prompt, by the template pair:" in lines
    low = estimate._replace(judge_config=config.judge.model_copy(update={"max_calls": 100}))
    assert any("judge.max_calls of 100 may stop the run" in line for line in describe_estimate(low))
    assert estimate_run(config).evaluation is None


def test_a_judge_of_the_evaluation_that_cannot_judge_is_refused_before_anything_is_spent():
    config = parse_config(RUN, where="x")
    other = config.evaluation.judge.model_copy(update={"template": "frontdesk_scores"})
    with pytest.raises(RlaifError, match="frontdesk_scores"):
        estimate_run(
            config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"judge": other})}),
            evaluates=True,
        )


def test_more_pairs_than_a_run_can_hold_are_refused_before_a_model_is_loaded():
    text = "judge: {template: frontdesk_score}\nsampling: {num_samples: 1000}"
    with pytest.raises(RlaifError, match="249,750,000 pairs, and a run holds at most 100,000,000"):
        estimate_run(parse_config(text, where="x"))


def test_many_responses_to_a_prompt_are_tried_on_fewer_prompts():
    text = RUN.replace("num_samples: 3", "num_samples: 50")
    estimate = estimate_run(parse_config(text, where="x"))
    assert (estimate.num_samples, estimate.judges[0].num_questions) == (500, 10 * 2 * 2 * 2)
