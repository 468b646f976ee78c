"""A template with a tie among its verdicts: a tie is an answer, splits evenly, and is no flip."""

from __future__ import annotations

import math

import pytest
from judging_world import KIND, all_pairs, judge, make_prompts, make_replies

from rlaif.config.generate import PreferencesConfig
from rlaif.preferences.pairing import pair_comparisons
from rlaif.records import Constitution

ONLY_KIND = Constitution(name="kind", principles=(KIND,), source="")


def test_a_tie_is_one_half_with_a_logit_of_zero_and_a_winner_keeps_its_share(tmp_path):
    prompts = make_prompts()
    [prompt] = prompts.values()
    pairs = all_pairs(make_replies(prompt, "a kind=1", "b kind=1", "c kind=2"))
    judging = judge(
        tmp_path, pairs, prompts=prompts, script="by_worth_or_tie", template="pair_tie", constitution=ONLY_KIND
    )
    text_of = {sample.id: sample.text for pair in pairs for sample in pair}
    assert len(judging.comparisons) == 3
    for comparison in judging.comparisons:
        first, second = (text_of[key][-1] for key in comparison.sample_ids)
        # Each of two has .9 or .05, and half of the tie's .05.
        logit = math.log((0.9 + 0.025) / (0.05 + 0.025))
        assert comparison.logit == pytest.approx(0.0 if first == second else logit if first > second else -logit)
        assert comparison.flipped is False
    verdicts = [judgement.verdict for judgement in judging.judgements]
    assert (verdicts.count("tie"), len(verdicts)) == (2, 6)
    pairing = pair_comparisons(
        judging.comparisons, constitution=ONLY_KIND, config=PreferencesConfig(min_margin=0.1), round=0, pairs=pairs
    )
    assert str(pairing.tally) == "in 3, kept 2, dropped 1 (tie 1)"
