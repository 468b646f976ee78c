"""A server's refusal that no further question would change -> the error that stops the questions, with its words.

No money on the account, a key that is refused, an address without a model, and whatever refuses the first questions.
Sends nothing.
"""

from __future__ import annotations

from rlaif.config.judge import EndpointConfig
from rlaif.errors import StageError
from rlaif.models.endpoint.http import Answer
from rlaif.models.endpoint.reading import ServerDown, ServerState, Stopped, find_cause, may_pass
from rlaif.models.endpoint.refusal import is_unpaid

_OF_ONE_QUESTION = frozenset({400, 413, 422})
"""Statuses that may be due to the question alone; a second question shows whether they are."""


def stop_where_hopeless(
    answer: Answer, *, state: ServerState, config: EndpointConfig, host: str, model: str, tries: int
) -> None:
    """Raise `Stopped` where the next question would be refused as well.

    model: the name that is asked for. tries: how often this question looked for a server that nothing was heard of
    yet; 0 where it may look once more.
    """
    if (unpaid := find_unpaid(answer, host=host)) is not None:
        raise Stopped(unpaid, at_once=False)
    address = config.base_url_env
    if answer.status == 401:
        what, fix = "the judge's server refused the key", f"set {config.api_key_env} to a key that it takes"
    elif state.has_answered:
        return
    elif answer.unreachable:
        if not tries:
            return
        what = f"the judge's server cannot be reached, tried {'once' if tries == 1 else f'{tries} times'}"
        fix = f"start it, or fix {address}; then the same command again, with --resume where a run was begun"
    elif answer.status == 404:
        what = f'the judge\'s server has no model "{model}", or no chat API at this address'
        fix = f"fix judge.model.path or {address}, which usually ends in /v1"
    elif answer.status == 403 or 300 <= answer.status < 400:
        what, fix = "the judge's server does not serve us", f"check {address} and {config.api_key_env}"
    elif may_pass(answer) or find_cause(answer) != "endpoint":
        return
    else:
        state.refused_first += 1
        if answer.status in _OF_ONE_QUESTION and state.has_answers_in_use:
            return
        if answer.status in _OF_ONE_QUESTION and state.refused_first == 1:
            return
        what, fix = "the judge's server refuses our questions", _suggest_fix(answer.words, config)
    raise Stopped(StageError(f"{what} ({answer.said[:300]})", where=host, fix=fix), at_once=True)


def find_unpaid(answer: Answer, *, host: str) -> ServerDown | None:
    """The error for an account without money or quota, which neither waiting nor another question changes."""
    if not is_unpaid(answer.words, status=answer.status):
        return None
    return ServerDown(
        f"the account at the judge's server has no money or quota left ({answer.said[:300]})",
        where=host,
        fix="pay there or raise its limit; every answer is kept: continue with the same command and --resume",
    )


def _suggest_fix(words: str, config: EndpointConfig) -> str:
    """What to change, where the words name an option."""
    folded = words.lower()
    if named := [name for name in config.extra_body if name.lower() in folded]:
        return f"take {' and '.join(named)} out of judge.endpoint.extra_body"
    if "logprob" in folded and config.logprobs == "yes":
        return "set judge.endpoint.logprobs to auto, which does without them"
    if "max_tokens" in folded or "max_completion_tokens" in folded:
        return "set judge.endpoint.max_reply_tokens to what it allows"
    return "change what it names: judge.model.path, judge.endpoint, or the options that the server was started with"
