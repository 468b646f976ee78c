"""Failed judgements -> why a stage's questions brought nothing, in one sentence with the judge's or the server's words.

Decides nothing and asks nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rlaif.errors import StageError
from rlaif.judging.unanswered import find_detail
from rlaif.models.endpoint.reply import HOW_TO_ANSWER
from rlaif.records import FailedJudgement, FailureCause

_FIXES: dict[FailureCause, str] = {
    "truncated": "raise judge.endpoint.max_reply_tokens (judges that think need thousands), or the template's limit",
    "empty": f"{HOW_TO_ANSWER}; or choose another judge",
    "over_length": "take a judge that reads longer texts, or lower sampling.max_tokens",
    "endpoint": "fix what the server says",
    "impossible_logprobs": "set judge.endpoint.logprobs to no",
}
_FIX = "choose a template that this judge follows, see `rlaif constitution show`, or another judge"


def make_failed_error(failed: Sequence[FailedJudgement], *, num_questions: int, where: str) -> StageError:
    """The error for a stage that got nothing to work with because its questions failed."""
    cause = Counter(failure.cause for failure in failed).most_common(1)[0][0]
    return StageError(
        describe_failures(failed, num_questions=num_questions),
        where=where,
        fix=f"{_FIXES.get(cause, _FIX)}; then start a new run, which asks again",
    )


def describe_failures(failed: Sequence[FailedJudgement], *, num_questions: int) -> str:
    """How many questions failed and of what, with the words of one of the commonest cause."""
    causes = Counter(failure.cause for failure in failed)
    commonest = causes.most_common(1)[0][0]
    counts = ", ".join(f"{cause} {count}" for cause, count in causes.most_common())
    what = f"{len(failed)} of {num_questions} questions to the judge failed ({counts})"
    words = next((words for f in failed if f.cause == commonest and (words := _find_words(f))), "")
    return f"{what}; one of them: {words}" if words else what


def _find_words(failure: FailedJudgement) -> str:
    """The end of the judge's reply, or the server's message where there is none."""
    reply = " ".join(failure.raw_reply.split())
    return reply[-200:] if reply else find_detail(failure)[:300]
