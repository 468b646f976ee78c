"""A Hugging Face causal LM on this machine as generator and as scorer.

Prompts are built from token segments; the verdict's log-probabilities come from the same pass
that wrote the judge's reason. One call is one batch, halved where it does not fit into memory. Does not plan
batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from rlaif.models.decode import Decoded, decode, row_uniforms
from rlaif.models.halving import in_halves
from rlaif.models.interface import Chat, Generation, ScoredReply, ScoreRequest
from rlaif.models.loading import LoadedModel
from rlaif.models.prompt_tokens import choice_token_ids
from rlaif.records import FailureCause, Model, SamplingParams


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
        return int(getattr(self._model.config, "max_position_embeddings", 2**31))

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
        choice_ids = choice_token_ids(self._encoder, request.marker, request.choices)
        prompts = self._encoder.encode_batch(chats)
        if request.max_reason_tokens == 0:
            prompts = [prompt + self._encoder.encode_response_start(request.marker) for prompt in prompts]
        room = self.context_tokens - request.max_reason_tokens - 1
        fitting = [row for row, prompt in enumerate(prompts) if len(prompt) <= room]
        replies = [
            ScoredReply("", None, (), prompt_tokens=len(prompt), reply_tokens=0, failure="over_length")
            for prompt in prompts
        ]
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

    def _reply(self, decoded: Decoded, row: int, *, request: ScoreRequest, prompt_tokens: int) -> ScoredReply:
        ids = decoded.token_ids[row]
        text = self._encoder.decode(ids)
        logprobs = tuple(decoded.choice_logprobs[row].tolist())
        if request.max_reason_tokens == 0:
            return ScoredReply(text, None, logprobs, prompt_tokens, 1)
        if decoded.marked[row]:
            reason = text[: text.rfind(request.marker.strip())].strip()
            return ScoredReply(text, reason, logprobs, prompt_tokens, len(ids) + 1)
        failure: FailureCause = "unparsable" if decoded.finished[row] else "truncated"
        if not text.strip():
            failure = "empty"
        return ScoredReply(text, None, (), prompt_tokens, len(ids), failure)
