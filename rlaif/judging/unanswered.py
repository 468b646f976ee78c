"""Questions that got no answer at all -> the sentence that ends the command, so that it can be resumed.

A failure of the server has the cause `endpoint`: nobody listens, the connection breaks, nothing comes in time, 429 and
5xx after all retries, a body that is no chat completion, and any other refusal whose words name neither the length nor
a filter. It may pass, so the question is asked again while it has attempts left (judge.max_attempts, over all
resumptions). Every other cause (empty, cut off, refused, filtered, unreadable, too long ...) is an answer of the judge,
and so is a reply without the log-probabilities that are demanded: the question is dropped under that cause, and the
command continues. Asks nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rlaif.errors import StageError
from rlaif.judging.asking import Asking
from rlaif.judging.collect import Judging
from rlaif.models.endpoint.reading import NO_LOGPROBS, ServerDown
from rlaif.records import FailedJudgement

AGAIN = "run the same command again"
NOTHING_DECIDED = f"nothing was decided; once the server answers, {AGAIN}"
_REFUSED = re.compile(r"HTTP (400|413|422)\b")
"""How a server's message begins where the server read a question and refuses it."""


class Unanswered(StageError):
    """Some questions got no answer from the judge's server."""


def refuse_unanswered(judging: Judging, *, asking: Asking, host: str, unsent_because: str) -> None:
    """Raises `Unanswered` where a question got no answer and has attempts left; the ledger keeps every answer.

    `unsent_because`: why questions reached no server, which the ledger does not know.
    """
    answered = {judgement.question_id for judgement in judging.judgements}
    last_failure = {failure.question_id: failure for failure in judging.failed}
    unanswered = [question.id for question in judging.questions if question.id not in answered]
    attempts, max_attempts = asking.ledger.failed_attempts(unanswered), asking.config.max_attempts
    left = [
        last_failure.get(key)
        for key in unanswered
        if attempts.get(key, 0) < max_attempts
        and is_unanswered(failure := last_failure.get(key))
        and not (asking.drops_refused and failure is not None and is_refusal(find_detail(failure)))
    ]
    if left:
        words = [unsent_because if failure is None else find_detail(failure) for failure in left]
        raise make_error(
            words, total=len(judging.questions), host=host,
            fix=f"every answer is kept; once the server answers, {asking.again} (judge.max_attempts: a question is "
            f"dropped after {max_attempts} attempts)",
        )  # fmt: skip


def make_error(words: Sequence[str], *, total: int, host: str, fix: str) -> Unanswered:
    """The error to raise. `words`: the server's message for each question without an answer; the commonest is shown."""
    said = Counter(filter(None, words)).most_common(1)
    where = ": ".join(filter(None, (host, said[0][0][:300] if said else "")))
    return Unanswered(f"{len(words)} of {total} questions got no answer", where=where, fix=fix)


@contextmanager
def naming_next_step(fix: str) -> Iterator[None]:
    """Where the server is down inside the block, end with `fix` as the next step: the command has no --resume."""
    try:
        yield
    except ServerDown as error:
        raise ServerDown(error.what, where=error.where, fix=fix) from None


def find_detail(failure: FailedJudgement) -> str:
    """The server's message, or what happened to the connection."""
    return failure.observed.served.detail if failure.observed.served is not None else failure.raw_reply


def is_refusal(detail: str) -> bool:
    """Whether the server read the question and refused it, as it would again."""
    return _REFUSED.match(detail) is not None


def is_unanswered(last_failure: FailedJudgement | None) -> bool:
    """Whether a question without a judgement got no answer at all. None: the question never failed."""
    if last_failure is None:
        return True
    return last_failure.cause == "endpoint" and find_detail(last_failure) != NO_LOGPROBS
