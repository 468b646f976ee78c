"""The training methods by name: what each learns from, and the chain of them that a configuration asks for.

Holds what must be known before torch is imported; `policy/methods` has the methods themselves, a module each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

MethodName = Literal["sft", "ift", "rft", "irft", "reft", "seft", "dpo", "kto", "ppo", "rloo", "grpo"]
Need = Literal["demonstrations", "pairs", "thumbs", "revisions", "rewards"]
NEEDS: Mapping[MethodName, Need] = {
    "sft": "demonstrations",
    "ift": "demonstrations",
    "rft": "demonstrations",
    "irft": "demonstrations",
    "reft": "demonstrations",
    "seft": "revisions",
    "dpo": "pairs",
    "kto": "thumbs",
    "ppo": "rewards",
    "rloo": "rewards",
    "grpo": "rewards",
}
"""What each method learns from. demonstrations: responses that somebody wrote. pairs: two responses, one preferred.
thumbs: single responses, each good or bad, which pairs and ratings give too. revisions: the policy's own responses,
improved by a reviser and filtered by the judge. rewards: a number for whatever the policy
answers, from a reward model, the judge, a function (a verifier) or a server."""
BY_REWARDS: tuple[Literal["ppo", "rloo", "grpo"], ...] = ("ppo", "rloo", "grpo")
"""Methods with the options of `ppo`; each is a value of ppo.algorithm."""
BY_PREFERENCES: tuple[MethodName, ...] = tuple(name for name, need in NEEDS.items() if need in ("pairs", "thumbs"))
"""Methods that learn from a data set of preferences."""

BY_DEMONSTRATIONS: tuple[MethodName, ...] = ("ift", "rft", "irft", "reft")
"""Methods beside sft that learn from the demonstrations that sft.demonstrations names."""


class Chain(NamedTuple):
    """The methods of a run in their order, each of which trains the policy of the one before."""

    before: tuple[MethodName, ...]
    """Those of the stage `sft`, before anything is sampled."""
    after: tuple[MethodName, ...]
    """Those of the stage `policy`."""

    @property
    def names(self) -> tuple[MethodName, ...]:
        return (*self.before, *self.after)


def name_metrics(method: str) -> str:
    """The name of a method's rows in metrics.jsonl."""
    return "policy" if method in BY_REWARDS else method


def split_chain(names: Sequence[MethodName]) -> Chain:
    """A list of methods as a chain.

    Methods that learn from demonstrations alone train before sampling where they come first and one follows that needs
    more. Where all of them do, nothing has to be sampled first, and the policy they make is the one that is evaluated.
    """
    first = next((place for place, name in enumerate(names) if NEEDS[name] != "demonstrations"), 0)
    return Chain(tuple(names[:first]), tuple(names[first:]))


def find_named(names: Sequence[str]) -> list[MethodName]:
    """The methods in a list that say a ppo.algorithm: all by rewards but ppo, which says whatever is set there."""
    return [name for name in BY_REWARDS[1:] if name in names]


def check_chain(names: Sequence[MethodName]) -> None:
    """Raise ValueError where methods cannot follow one another."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is in it twice, and its options are there once: leave one out")
    by_rewards = [name for name in names if name in BY_REWARDS]
    if len(by_rewards) > 1:
        raise ValueError(f"{' and '.join(by_rewards)} share the options of `ppo`: keep one of them")


def add_method(chain: Chain, name: MethodName) -> tuple[MethodName, ...]:
    """The list that trains by one further method alone, after what trained before sampling."""
    return (name,) if NEEDS[name] == "demonstrations" else (*chain.before, name)
