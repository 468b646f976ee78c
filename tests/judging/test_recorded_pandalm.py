"""PandaLM's recorded verdicts of two judges: 999 pairs, unreadable replies, published accuracies.

Verdicts are another's data, so they stand beside the repository; without them these tests are skipped.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from rlaif.judging.recorded import Recorded, import_recorded
from rlaif.records import Comparison, Judgement

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "recorded-verdicts"
PANDALM = ROOT.parent / "shared" / "data" / "pandalm"

needs_pandalm = pytest.mark.skipif(
    not PANDALM.is_dir(), reason="PandaLM's recorded verdicts are not in ../shared/data/pandalm"
)


def pandalm(judge: str, verdicts: str) -> Recorded:
    return import_recorded(PANDALM / "testset-v1.json", PANDALM / verdicts, EXAMPLE / f"pandalm-{judge}.yaml")


@pytest.fixture(scope="module")
def gpt() -> Recorded:
    return pandalm("gpt-3.5-turbo", "gpt-3.5-turbo-testset-v1.json")


@pytest.fixture(scope="module")
def panda() -> Recorded:
    return pandalm("7b", "pandalm-7b-testset-v1.json")


@needs_pandalm
def test_gpt_35s_unreadable_replies_are_failed_judgements_and_never_numbers(gpt: Recorded) -> None:
    assert len(gpt.pairs) == len(gpt.questions) == 999
    assert str(gpt.judgement_tally) == "in 999, kept 974, dropped 25 (unparsable 25)"
    assert Counter(failed.raw_reply for failed in gpt.failed) == {"garbage": 25}
    failed_questions = {failed.question_id for failed in gpt.failed}
    assert not failed_questions & {judgement.question_id for judgement in gpt.judgements}
    assert len(gpt.comparisons) == 974


@needs_pandalm
def test_pandalms_own_verdicts_can_all_be_read_and_none_is_debiased(panda: Recorded) -> None:
    assert (len(panda.judgements), len(panda.failed), len(panda.comparisons)) == (999, 0, 999)
    assert not any(comparison.debiased for comparison in panda.comparisons)
    assert {comparison.logit for comparison in panda.comparisons} == {None}


@needs_pandalm
def test_both_judges_judged_the_same_samples_of_the_same_five_policies(gpt: Recorded, panda: Recorded) -> None:
    assert gpt.samples == panda.samples
    assert gpt.prompts == panda.prompts
    assert {model.weights for model in gpt.policies} == {
        "bloom-7b", "cerebras-gpt-6.7B", "llama-7b", "opt-7b", "pythia-6.9b",
    }  # fmt: skip
    assert not {question.id for question in gpt.questions} & {question.id for question in panda.questions}


@needs_pandalm
def test_our_records_reproduce_the_published_accuracies_against_the_majority_of_three_people(
    gpt: Recorded, panda: Recorded
) -> None:
    hits, ties = agreement(gpt)
    assert hits / 974 == pytest.approx(0.7156, abs=5e-5)  # unreadable replies left out
    assert (hits + ties) / 999 == pytest.approx(0.7107, abs=5e-5)  # and counted as ties, as published
    assert agreement(panda)[0] / 999 == pytest.approx(0.6677, abs=5e-5)


def agreement(recorded: Recorded) -> tuple[int, int]:
    """Comparisons that say what most people said, and failed ones on which most people saw a tie."""
    policies = {model.id: model.weights for model in recorded.policies}
    texts = {prompt.id: prompt.messages[-1].content for prompt in recorded.prompts}
    compared: dict[frozenset[str], Comparison] = {frozenset(c.sample_ids): c for c in recorded.comparisons}
    by_content = {
        (texts[a.prompt_id], frozenset({(policies[a.policy_id], a.text), (policies[b.policy_id], b.text)})): (
            a,
            b,
        )
        for a, b in recorded.pairs
    }
    hits = ties = 0
    for row in json.loads((PANDALM / "testset-v1.json").read_text()):
        prompt = "\n\n".join(part for part in (row["instruction"], row["input"]) if part.strip())
        responses = [json.dumps(r) if isinstance(r, bool) else r for r in (row["response1"], row["response2"])]
        first, second = zip(row["cmp_key"].split("_"), responses, strict=True)
        a, b = by_content[prompt, frozenset({first, second})]
        ((majority, _),) = Counter(row[f"annotator{i}"] for i in (1, 2, 3)).most_common(1)
        comparison = compared.get(frozenset({a.id, b.id}))
        if comparison is None:
            ties += majority == 0
            continue
        shown_first = a if (policies[a.policy_id], a.text) == first else b
        p = comparison.p_first if comparison.sample_ids[0] == shown_first.id else 1 - comparison.p_first
        hits += p == {0: 0.5, 1: 1.0, 2: 0.0}[majority]
    return hits, ties


@needs_pandalm
def test_the_reason_stands_with_the_verdict(gpt: Recorded) -> None:
    first: Judgement = gpt.judgements[0]
    assert first.reason is not None
    assert first.reason.startswith("Response 1 is better because it addresses both questions")
