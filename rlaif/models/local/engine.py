"""A Hugging Face causal LM on this machine as generator and as scorer.

Prompts are built from token segments; the verdict's log-probabilities come from the same pass
that wrote the judge's reason. One call is one batch, halved where it does not fit into memory. Plans no batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

from rlaif.models.interface import Chat, Generation, ScoredReply, ScoreRequest
from rlaif.models.local.decode import Decoded, decode, row_uniforms
from rlaif.models.local.halving import in_halves
from rlaif.models.local.likelihood import compute_likelihoods
from rlaif.models.readings import judge_readings
from rlaif.models.replies.local_reply import encode_questions, read_reply
from rlaif.models.tokens.prompt_tokens import choice_token_ids
from rlaif.models.weights.context import NO_LIMIT, context_tokens_of
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import Model, SamplingParams


class TransformersEngine:
    """Implements `TextGenerator` and `TokenScorer`."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._model = loaded.model
        self._encoder = loaded.encoder
        self._fingerprint = loaded.fingerprint

    @property
    def fingerprint(self) -> Model:
        return self._fingerprint

    @cached_property
    def context_tokens(self) -> int:
        return context_tokens_of(self._model) or NO_LIMIT

    def count_tokens(self, chat: Chat) -> int:
        return len(self._encoder.encode(chat))

    def generate(
        self, chats: Sequence[Chat], *, params: SamplingParams, keys: Sequence[tuple[int, ...]]
    ) -> list[Generation]:
        prompts = self._encoder.encode_batch(chats)

        def run(rows: Sequence[int]) -> Decoded:
            return decode(
                self._model,
                [prompts[row] for row in rows],
                max_new_tokens=params.max_new_tokens,
                temperature=params.temperature,
                top_p=params.top_p,
                uniforms=row_uniforms([keys[row] for row in rows], params.max_new_tokens),
                stop_ids=self._encoder.stop_token_ids,
                pad_id=self._encoder.pad_token_id,
            )

        decoded = in_halves(run, range(len(prompts)), join=Decoded.and_then)
        return [
            Generation(
                text=self._encoder.decode(ids),
                token_ids=tuple(ids),
                finish_reason="stop" if finished else "length",
                prompt_tokens=len(prompt),
            )
            for prompt, ids, finished in zip(prompts, decoded.token_ids, decoded.finished, strict=True)
        ]

    def score(self, chats: Sequence[Chat], *, request: ScoreRequest) -> list[ScoredReply]:
        if request.reads == "likelihood":
            read = partial(compute_likelihoods, self._model, pad_id=self._encoder.pad_token_id)
            return judge_readings(self._encoder, chats, context_tokens=self.context_tokens, run=read)
        choice_ids = choice_token_ids(self._encoder, request.marker, request.choices)
        prompts, fitting, replies = encode_questions(
            self._encoder, chats, request=request, context_tokens=self.context_tokens
        )
        if fitting:

            def run(rows: Sequence[int]) -> Decoded:
                return decode(
                    self._model,
                    [prompts[row] for row in rows],
                    max_new_tokens=request.max_reason_tokens,
                    temperature=1.0,
                    uniforms=None,
                    stop_ids=self._encoder.stop_token_ids,
                    pad_id=self._encoder.pad_token_id,
                    marker=request.marker,
                    piece=self._encoder.piece,
                    choice_ids=choice_ids,
                )

            decoded = in_halves(run, fitting, join=Decoded.and_then)
            for place, row in enumerate(fitting):
                replies[row] = self._reply(decoded, place, request=request, prompt_tokens=len(prompts[row]))
        return replies

    def close(self) -> None:
        """Nothing: the memory belongs to whoever loaded the model."""

    def _reply(self, decoded: Decoded, row: int, *, request: ScoreRequest, prompt_tokens: int) -> ScoredReply:
        return read_reply(
            self._encoder,
            decoded.token_ids[row],
            request=request,
            logprobs=tuple(decoded.choice_logprobs[row].tolist()) if decoded.marked[row] else None,
            is_finished=decoded.finished[row],
            prompt_tokens=prompt_tokens,
        )
