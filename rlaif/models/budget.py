"""Hard caps on calls, tokens and money: what a request may cost at most is set aside before it is sent.

A request is allowed or refused by its upper bound; once it is answered, its real cost replaces the bound. Sends
nothing and knows no prices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rlaif.errors import StageError

if TYPE_CHECKING:
    from rlaif.config.judge import JudgeConfig


class Spending(NamedTuple):
    """What requests cost, or may cost at most."""

    calls: int = 0
    tokens: int = 0
    """Tokens of prompts and replies."""
    cost: float = 0.0

    def plus(self, other: Spending) -> Spending:
        return Spending(self.calls + other.calls, self.tokens + other.tokens, self.cost + other.cost)

    def minus(self, other: Spending) -> Spending:
        return Spending(self.calls - other.calls, self.tokens - other.tokens, self.cost - other.cost)


NOTHING = Spending()


class Budget:
    """What a run's judge has cost and may still cost."""

    def __init__(
        self,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        spent: Spending = NOTHING,
    ) -> None:
        """`spent`: what earlier attempts of the run have paid already."""
        self._caps = {"max_calls": max_calls, "max_tokens": max_tokens, "max_cost": max_cost}
        self.spent = spent
        self._reserved = NOTHING
        self._num_reserved = 0

    @property
    def limits_tokens(self) -> bool:
        """Whether somebody must count tokens before they are spent."""
        return self._caps["max_tokens"] is not None or self._caps["max_cost"] is not None

    @property
    def is_waited_for(self) -> bool:
        """Whether a request is under way, which may turn out cheaper than what was set aside for it."""
        return self._num_reserved > 0

    def reserve(self, bound: Spending) -> bool:
        """Set aside what a request may cost at most; False, and nothing set aside, where a cap would be exceeded."""
        if self._reached(bound) is not None:
            return False
        self._reserved = self._reserved.plus(bound)
        self._num_reserved += 1
        return True

    def hold(self, bound: Spending) -> None:
        """Set aside what requests of an earlier attempt may still cost, whatever the caps are now; `settle` it later.

        Their calls were counted as spent and are moved to what is set aside, until their number is known.
        """
        self.spent = self.spent._replace(calls=self.spent.calls - bound.calls)
        self._reserved = self._reserved.plus(bound)
        self._num_reserved += 1

    def settle(self, bound: Spending, *, used: Spending) -> None:
        """Replace what was set aside for a request by what it cost."""
        self._num_reserved -= 1
        self._reserved = self._reserved.minus(bound) if self._num_reserved else NOTHING
        self.spent = self.spent.plus(used)

    def refusal(self, bound: Spending) -> StageError:
        """The sentence that ends a run at its cap."""
        name, cap, spent = self._reached(bound) or ("max_calls", 0, self.spent.calls)
        next_ones = "another question" if bound.calls <= 1 else f"the next {bound.calls:,} questions, asked together"
        are_spent = f"{spent:,.6g} is spent" if name == "max_cost" else f"{spent:,} are spent"
        under_way = f"; up to {self._reserved.calls:,} calls more are under way" if self._num_reserved else ""
        return StageError(
            f"judge.{name} of {cap:,} leaves no room for {next_ones}: {are_spent}",
            where=f"{self.spent.calls:,} calls, {self.spent.tokens:,} tokens{under_way}",
            fix="every answer is kept; raise the cap and continue with --resume",
        )

    def _reached(self, bound: Spending) -> tuple[str, float, float] | None:
        """The first cap that `bound` would exceed, and what is spent of it."""
        whole = self.spent.plus(self._reserved).plus(bound)
        for (name, cap), planned, spent in zip(self._caps.items(), whole, self.spent, strict=True):
            if cap is not None and planned > cap * (1 + 1e-12):
                return name, cap, spent
        return None


def make_budget(config: JudgeConfig, *, spent: Spending = NOTHING) -> Budget:
    """A budget with the configured caps; `spent`: what the run has paid already."""
    return Budget(max_calls=config.max_calls, max_tokens=config.max_tokens, max_cost=config.max_cost, spent=spent)
