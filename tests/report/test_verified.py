"""Which held-out prompts are verified, and whose responses are counted."""

from __future__ import annotations

from answer_finders import last_word, reverses, three_digits
from made_up_report import make_sample

from rlaif.evaluation.verifier import Verifier
from rlaif.records import Message, Prompt
from rlaif.report.verified import find_verifiable, verify_samples

KNOWN, UNKNOWN = (
    Prompt(messages=(Message(role="user", content=question),), reference=reference)
    for question, reference in (("Two and two?", "4"), ("And three?", None))
)


def test_a_prompt_without_a_known_answer_is_verified_by_a_function_alone() -> None:
    assert find_verifiable([KNOWN, UNKNOWN], Verifier(last_word)) == [KNOWN]
    assert find_verifiable([KNOWN, UNKNOWN], Verifier(three_digits, reverses)) == [KNOWN, UNKNOWN]


def test_each_policys_responses_are_verified_in_the_order_in_which_they_were_drawn() -> None:
    start = [
        make_sample(KNOWN.id, text, policy="start", index=index)
        for index, text in ((2, "It is 5"), (0, "It is 4"), (1, "It is 5"), (3, "It is 4"))
    ]
    trained = [make_sample(KNOWN.id, "It is 4", policy="trained", index=index) for index in range(4)]
    found = verify_samples(
        [KNOWN],
        start=start,
        trained=trained,
        verifier=Verifier(last_word),
        rewards={sample.id: float(sample.index) for sample in start if sample.index < 3}
        | {sample.id: 0.0 for sample in trained},
        num_unknown=1,
    )
    assert found.answers is not None
    assert found.answers.voted is not None
    assert found.answers.reranked is not None
    assert found.answers.single.mean_before == 0.5
    assert found.answers.voted.mean_before == 1.0, "4 came first"
    assert found.answers.reranked.mean_before == 0.0, "the third was the best of those that were scored"
    assert found.answers.single.mean_after == 1.0
    assert len(found.samples) == 8
