"""Questions that all failed -> the error that says why and shows one."""

import pytest

from rlaif.judging.failures import make_failed_error
from rlaif.records import FailedJudgement, Observed, Served


def failed(cause, raw_reply="", detail=""):
    served = Served(host="far", calls=1, had="nothing", detail=detail) if detail else None
    observed = Observed(served=served)
    return FailedJudgement(question_id="q", cause=cause, raw_reply=raw_reply, observed=observed)


@pytest.mark.parametrize(
    ("failures", "sentence", "fix"),
    [
        (
            [failed("unparsable", "Both\nare fine."), failed("unparsable", "x"), failed("empty")],
            r"3 of 4 questions to the judge failed (unparsable 2, empty 1); one of them: Both are fine. (stage)",
            "choose a template",
        ),
        (
            [failed("truncated", "I thin")],
            "(truncated 1); one of them: I thin",
            "raise judge.endpoint.max_reply_tokens",
        ),
        (
            [failed("endpoint", detail="HTTP 400 no")],
            "(endpoint 1); one of them: HTTP 400 no",
            "fix what the server says",
        ),
        (
            [failed("empty", detail="a text stands in reasoning: A")],
            "a text stands in reasoning: A",
            "reasoning parser",
        ),
        ([failed("empty")], "(empty 1) (stage)", "reasoning parser"),
    ],
)
def test_the_error_counts_the_causes_and_shows_one_text(failures, sentence, fix):
    said = str(make_failed_error(failures, num_questions=4, where="stage"))
    assert sentence in said
    assert fix in said
    assert said.endswith("then start a new run, which asks again")
    assert "min_margin" not in said
