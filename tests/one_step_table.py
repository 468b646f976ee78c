"""A language model of one step that is a table: the whole policy can be read, and its exact best is known.

A prompt is one token, a response is one letter and the token that ends it, which every state predicts surely.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from rlaif.models.weights.loading import LoadedModel
from rlaif.records import Message, Prompt

LETTERS = "abcdefghijkl"
END, START = len(LETTERS), len(LETTERS) + 1
NUM_TOKENS = len(LETTERS) + 2
PROMPT = Prompt(messages=(Message(role="user", content="go"),))


class TableConfig(PretrainedConfig):
    model_type = "one_step_table"

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.vocab_size = self.hidden_size = NUM_TOKENS
        self.max_position_embeddings = 8


class OneHot(PreTrainedModel):
    """The last token, one-hot."""

    config_class = TableConfig

    def __init__(self, config: TableConfig) -> None:
        super().__init__(config)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> BaseModelOutputWithPast:
        return BaseModelOutputWithPast(last_hidden_state=nn.functional.one_hot(input_ids, NUM_TOKENS).float())


class Table(PreTrainedModel):
    """Logits of the next token, a row for each token before it; only the row of the prompt's token is trained."""

    config_class = TableConfig
    base_model_prefix = "model"
    _tied_weights_keys = None

    def __init__(self, config: TableConfig) -> None:
        super().__init__(config)
        self.model = OneHot(config)
        self.lm_head = nn.Linear(NUM_TOKENS, NUM_TOKENS, bias=False)
        self.generation_config = GenerationConfig(pad_token_id=END)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def forward(self, input_ids: Tensor, **given: Any) -> CausalLMOutputWithPast:
        return CausalLMOutputWithPast(logits=self.lm_head(self.model(input_ids, **given).last_hidden_state))


class LetterEncoder:
    pad_token_id = END

    def encode(self, chat: Any) -> list[int]:
        return [START]

    def encode_response(self, text: str) -> list[int]:
        return [LETTERS.index(text), END]


class World(NamedTuple):
    base: LoadedModel
    num: int
    """Letters that may be said."""

    def logprobs(self, model: Any) -> Tensor:
        """(num,) of each letter."""
        return torch.log_softmax(model.lm_head.weight[: self.num, START].detach().double(), dim=0)


def make_world(like: LoadedModel, *, reference: Sequence[float]) -> World:
    """A policy with these probabilities of the first letters. like: a real model, for its tokenizer."""
    model = Table(TableConfig())
    with torch.no_grad():
        model.lm_head.weight.fill_(-30.0)
        model.lm_head.weight[END, : len(LETTERS)] = 0.0
        model.lm_head.weight[: len(reference), START] = torch.tensor(reference).log()
    model.eval()
    return World(like._replace(model=model, encoder=LetterEncoder()), len(reference))
