"""A world that can be enumerated, whose best policy is known: 64 responses, a reward for each, a table as policy.

tests/policy trains in it, and so does benchmarks/ppo_sensitivity.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_guards import GuardsConfig
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.policy.task import TrainedPolicy
from rlaif.records import Message, Prompt

NO_GUARDS = GuardsConfig(
    kl_ceiling=None, max_length_factor=None, max_eos_drop=None, max_repetition_rise=None, evaluate_every=None
)


class TabularConfig(PreTrainedConfig):
    model_type = "tabular"

    def __init__(self, vocab_size: int = 4, depth: int = 3, **kwargs: Any) -> None:
        self.vocab_size = vocab_size
        self.depth = depth
        self.hidden_size = sum(vocab_size**level for level in range(depth))
        super().__init__(**kwargs)


class TabularForCausalLM(PreTrainedModel):
    """Logits from a table with a row per prefix of the response; the hidden state is the prefix, one-hot.

    The prompt is one token. A prefix is a node of a tree: 0 is the empty one, its children follow.
    """

    config_class = TabularConfig

    def __init__(self, config: TabularConfig) -> None:
        super().__init__(config)
        self.table = nn.Parameter(torch.zeros(config.hidden_size, config.vocab_size))
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        output_hidden_states: bool = False,
        logits_to_keep: int | Tensor = 0,
    ) -> CausalLMOutputWithPast:
        seen = input_ids
        if past_key_values is not None:  # the cache keeps the tokens themselves
            states = input_ids.float()[:, None, :, None]
            seen = past_key_values.update(states, states, 0)[0][:, 0, :, 0].long()
        nodes = torch.zeros_like(seen)
        for t in range(1, seen.shape[1]):
            nodes[:, t] = 1 + nodes[:, t - 1] * self.config.vocab_size + seen[:, t]
        nodes = nodes[:, -input_ids.shape[1] :].clamp(max=self.config.hidden_size - 1)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        return CausalLMOutputWithPast(
            logits=self.logits_at(nodes[:, kept]),
            past_key_values=past_key_values,
            hidden_states=(nn.functional.one_hot(nodes, self.config.hidden_size).float(),),
        )

    def logits_at(self, nodes: Tensor) -> Tensor:
        return self.table[nodes]


class World:
    """All responses of at most `depth` tokens, a reward for each, and the exact best policy.

    The best policy of E[r] - beta KL(pi || pi_ref) is pi_ref exp(r / beta) / Z, and for every pi
    J* - J(pi) = beta KL(pi || pi*).
    """

    letters = "abcdefgh"

    def __init__(
        self,
        *,
        seed: int,
        vocab_size: int = 4,
        depth: int = 3,
        stop_id: int | None = None,
        beta: float = 0.5,
        temperature: float = 1.0,
        model_class: type[TabularForCausalLM] = TabularForCausalLM,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.beta, self.temperature, self.depth = beta, temperature, depth
        self.stop_token_ids = () if stop_id is None else (stop_id,)
        self.pad_token_id = 0
        self.responses = [
            response
            for length in range(1, depth + 1)
            for response in itertools.product(range(vocab_size), repeat=length)
            if all(token != stop_id for token in response[:-1]) and (length == depth or response[-1] == stop_id)
        ]
        self.rewards = torch.randn(len(self.responses), generator=generator)
        self.reward_of = {
            self.decode(self.without_stop(response)): float(reward)
            for response, reward in zip(self.responses, self.rewards, strict=True)
        }
        assert len(self.reward_of) == len(self.responses)
        self.start = model_class(TabularConfig(vocab_size=vocab_size, depth=depth))
        self.start.table.data = torch.randn(self.start.table.shape, generator=generator)
        self.prompt = Prompt(messages=(Message(role="user", content="go"),))

    # the encoder
    def encode(self, chat: Any) -> list[int]:
        return [0]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.letters[i] for i in ids)

    def without_stop(self, response: Sequence[int]) -> Sequence[int]:
        return response[:-1] if response[-1] in self.stop_token_ids else response

    # the reward source
    def __call__(self, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        return [self.reward_of[episode.response] for episode in episodes]

    # the exact numbers
    @torch.no_grad()
    def logprobs(self, model: TabularForCausalLM) -> Tensor:
        """(num_responses,) exact log-probability of each response."""
        table = torch.log_softmax(model.logits_at(torch.arange(len(model.table))) / self.temperature, dim=-1)
        totals = []
        for response in self.responses:
            node, total = 0, torch.zeros((), dtype=torch.float64)
            for token in response:
                total = total + table[node, token].double()
                node = 1 + node * model.config.vocab_size + token
            totals.append(total)
        return torch.stack(totals)

    def best(self) -> Tensor:
        return torch.log_softmax(self.logprobs(self.start) + self.rewards.double() / self.beta, dim=0)

    def distance(self, model: TabularForCausalLM) -> float:
        """KL(pi || pi*)."""
        logprobs = self.logprobs(model)
        return float((logprobs.exp() * (logprobs - self.best())).sum())

    def objective(self, logprobs: Tensor) -> float:
        reference = self.logprobs(self.start)
        return float((logprobs.exp() * (self.rewards - self.beta * (logprobs - reference))).sum())

    def train(self, out_dir: Path, *, reward: Any = None, reference: Any = None, **options: Any) -> TrainedPolicy:
        """Through the trainer that users run. `options` may be values that the config itself refuses."""
        settings: dict[str, Any] = {
            "num_steps": 400, "num_prompts_per_step": 1, "num_samples_per_prompt": 256,
            "response_length": self.depth, "temperature": self.temperature, "learning_rate": 0.05,
            "num_ppo_epochs": 2, "num_mini_batches": 4, "kl_coef": self.beta, "guards": NO_GUARDS,
            "vf_coef": 1.0, "value_warmup_steps": 0, "cliprange_value": 10.0, "standardise_scores": False,
            "missing_eos_penalty": 0.0, "checkpoint_every": 1000, "sample_every": 1000,
        }  # fmt: skip
        return train_policy(
            policy=self.start,
            reference=reference,
            encoder=self,
            prompts=[self.prompt],
            reward=reward or self,
            config=PpoConfig.model_construct(**(dict(PpoConfig()) | settings | options)),
            out_dir=out_dir,
            seed=1,
            resume=False,
        )
