"""A user's server as a reward source: episodes go out by POST, numbers or nulls come back.

Requests that may succeed later are sent again after longer and longer waits. An episode left without a number has a
named failure, marked where it may pass. Stores nothing and never shows the key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from rlaif.config.ppo_rewards import RewardConfig
from rlaif.errors import TrainingError
from rlaif.models.endpoint.address import find_reward_address
from rlaif.models.endpoint.guards import RetryLine, pause
from rlaif.models.endpoint.http import RETRIED, Answer, describe_fault, open_session, post
from rlaif.models.endpoint.refusal import find_error, find_words, is_unpaid, show_words
from rlaif.policy.rewards.episodes import Episode, RewardFailure, read_reward

if TYPE_CHECKING:
    import aiohttp

LONGEST_WAIT_S, LONGEST_TOLD_S = 30.0, 600.0
"""The longest wait between retries, and the longest that a server may ask for."""
BYTES_PER_REPLY, BYTES_PER_REWARD = 1 << 20, 4096
"""The most bytes of a reply: so many, and so many more for each episode in the request."""


class EndpointReward:
    """Implements `RewardSource`. The request: `{"items": [{"prompt": messages, "response": text, "reference": text or
    null}, ...]}`; the reply: `{"rewards": [number or null, ...]}`, in the order of the items."""

    def __init__(self, config: RewardConfig, *, environ: Mapping[str, str], first_wait_s: float = 0.5) -> None:
        """`environ`: has the key. `first_wait_s`: seconds before the first retry, doubled before each further one."""
        self._config, self._first_wait_s = config, first_wait_s
        self._retry = RetryLine()
        self._address = find_reward_address(config.url or "", api_key_env=config.api_key_env, environ=environ)

    def __call__(self, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        return asyncio.run(self._ask_all(episodes))

    async def _ask_all(self, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        config = self._config
        chunks = [episodes[at : at + config.batch_size] for at in range(0, len(episodes), config.batch_size)]
        turns = asyncio.Semaphore(config.concurrency)
        async with open_session(self._address, concurrency=config.concurrency, timeout_s=config.timeout_s) as session:

            async def ask(chunk: Sequence[Episode]) -> list[float | RewardFailure]:
                async with turns:
                    return await self._ask(session, chunk)

            answered = await asyncio.gather(*map(ask, chunks))
        return [answer for chunk in answered for answer in chunk]

    async def _ask(self, session: aiohttp.ClientSession, chunk: Sequence[Episode]) -> list[float | RewardFailure]:
        payload = to_json({"items": [_as_item(episode) for episode in chunk]})
        retries = 0
        while True:
            answer = await post(
                session, self._address, payload, timeout_s=self._config.timeout_s,
                most_bytes=BYTES_PER_REPLY + BYTES_PER_REWARD * len(chunk),
            )  # fmt: skip
            answer = self._with_error_inside(answer)
            self._raise_if_hopeless(answer)
            failure = _find_failure(answer)
            if failure is None:
                return _read_rewards(answer.body, num_items=len(chunk))
            if answer.status not in RETRIED | {0, 200} or retries == self._config.max_retries:
                return [failure] * len(chunk)
            wait = min(LONGEST_WAIT_S, self._first_wait_s * 2**retries)
            who = f"reward server {self._address.host}"
            if not await pause(
                wait, told_s=answer.retry_after_s, longest_s=LONGEST_TOLD_S, who=who, retry=self._retry,
                why=describe_fault(answer),
            ):  # fmt: skip
                return [failure] * len(chunk)
            retries += 1

    def _with_error_inside(self, answer: Answer) -> Answer:
        """The answer, with the words of an error that came in place of rewards with status 200."""
        body = answer.body
        if answer.status != 200 or body is None or (isinstance(body, dict) and isinstance(body.get("rewards"), list)):
            return answer
        error = find_error(body)
        shown = self._address.hide(show_words(error))[:500] if error is not None else ""
        return answer._replace(said=shown, words=find_words(error) if shown else "")

    def _raise_if_hopeless(self, answer: Answer) -> None:
        """Raise for an answer that no further request would change."""
        if is_unpaid(answer.words, status=answer.status):
            fix = "pay there or raise its limit, then --resume"
        elif answer.status in (401, 403):
            variable = self._config.api_key_env
            fix = f"set {variable} to a key that it takes" if variable else "name the key's variable by api_key_env"
        elif answer.status == 404 or 300 <= answer.status < 400:
            fix = "fix its url in ppo.rewards"
        else:
            return
        raise TrainingError(
            f"the reward server does not serve us ({answer.said[:300] or f'HTTP {answer.status}'})",
            where=self._address.host,
            fix=fix,
        )


def _as_item(episode: Episode) -> dict[str, Any]:
    prompt = episode.prompt
    return {"prompt": prompt.as_chat(), "response": episode.response, "reference": prompt.reference}


def _find_failure(answer: Answer) -> RewardFailure | None:
    """Why a request failed; None where its body can be read."""
    if answer.status == 200 and not answer.said:
        return None
    if answer.status == 200:
        return RewardFailure("not_json" if answer.body is None else "no_rewards", answer.said, may_pass=True)
    if answer.status:
        return RewardFailure(f"http_{answer.status}", answer.said, may_pass=answer.status in RETRIED)
    cause = "unreachable" if answer.unreachable else "timeout" if answer.timed_out else "connection"
    return RewardFailure(cause, answer.said, may_pass=True)


def _read_rewards(body: Any, *, num_items: int) -> list[float | RewardFailure]:
    rewards = body.get("rewards") if isinstance(body, dict) else None
    if not isinstance(rewards, list):
        failure = RewardFailure("no_rewards", 'the reply is no object with a list "rewards"')
        return [failure] * num_items
    if len(rewards) != num_items:
        failure = RewardFailure("wrong_count", f"{len(rewards)} rewards for {num_items} items")
        return [failure] * num_items
    return [
        RewardFailure("not_a_number", f"{reward} is no number") if isinstance(reward, bool) else read_reward(reward)
        for reward in rewards
    ]
