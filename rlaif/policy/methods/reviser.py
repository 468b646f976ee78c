"""Responses -> their revisions, each with the tag GOOD, MINOR or MAJOR.

A trained reviser writes the tag, then the better response. A prompted one is told the principles, the judge's reasons
and how much to change, which follows from the judge's score; it writes the better response alone. Both decode greedily,
so a revision is a function of the weights and of what was revised. Decides nothing about what is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from transformers import PreTrainedModel

from rlaif.config.seft import SeftConfig
from rlaif.errors import ModelError
from rlaif.models.local.decode import decode
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.policy.methods.revision_examples import Example, Tag
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.passes import PLAIN
from rlaif.policy.rewards.episodes import Opinion
from rlaif.records import Prompt, Segment, SegmentedMessage

TAGS: tuple[Tag, ...] = ("GOOD", "MINOR", "MAJOR")
WORDS: tuple[tuple[str, str, str], ...] = (("GOOD", "MINOR", "MAJOR"), ("Yes", "Maybe", "No"), ("A", "B", "C"))
"""What a trained reviser writes for the tags: the first row whose words the model's tokenizer can tell apart."""
ASK = "Revise."
BATCH = 64
"""Revisions that are decoded together."""


class Draft(NamedTuple):
    """A response of the policy, and what the judge says of it."""

    prompt: Prompt
    response: str
    opinion: Opinion


class Revised(NamedTuple):
    """What a reviser made of a draft."""

    tag: Tag | None
    """None where a reviser wrote none."""
    text: str
    fault: str = ""
    """Why the revision cannot be used: `no_tag`, `cut` (it ran out of tokens), `empty`, `over_length`; else empty."""


class Reviser(Protocol):
    def __call__(self, drafts: Sequence[Draft], /) -> list[Revised]:
        """A revision of each draft, in order."""
        ...


def find_words(encoder: PromptEncoder) -> Mapping[Tag, str]:
    """What the reviser writes for each tag. Raises ModelError where the tokenizer knows no words for them."""
    for words in WORDS:
        ids = [tuple(encoder.encode_response(word)[:-1]) for word in words]
        if len(set(ids)) == len(words) and not any(encoder.unknown_token_id in one for one in ids):
            return dict(zip(TAGS, words, strict=True))
    raise ModelError(
        "the policy's tokenizer has no words for a reviser's tags",
        where=encoder.where,
        fix="take a policy with a larger vocabulary",
    )


def encode_examples(
    examples: Sequence[Example], *, encoder: PromptEncoder, max_length: int
) -> tuple[list[TokenSequence], int]:
    """What a trained reviser learns as token ids, and how many examples are longer than `max_length`."""
    words = find_words(encoder)
    prompts = encoder.encode_batch([ask_for_tag(one.prompt, one.response) for one in examples])
    answers = encoder.encode_responses([f"{words[one.tag]}\n{one.better}" for one in examples])
    sequences = [TokenSequence(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
    kept = [one for one in sequences if len(one.prompt_ids) + len(one.response_ids) <= max_length]
    return kept, len(sequences) - len(kept)


def ask_for_tag(prompt: Prompt, response: str) -> tuple[SegmentedMessage, ...]:
    """What a trained reviser reads: the conversation with the response, and a turn that asks for a better one."""
    return (*_as_turns(prompt, response), SegmentedMessage("user", (Segment(ASK, True),)))


class TrainedReviser:
    """Implements `Reviser` by a model that learnt to write a tag and a better response."""

    def __init__(
        self, model: PreTrainedModel, encoder: PromptEncoder, *, max_new_tokens: int, context_tokens: int
    ) -> None:
        """max_new_tokens: of the better response; the tag comes on top."""
        self._model, self._encoder, self._context = model, encoder, context_tokens
        self._words = {word: tag for tag, word in find_words(encoder).items()}
        longest = max(len(encoder.encode_response(f"{word}\n")) for word in self._words)
        self._max_new_tokens = max_new_tokens + longest

    def __call__(self, drafts: Sequence[Draft]) -> list[Revised]:
        asked = [ask_for_tag(draft.prompt, draft.response) for draft in drafts]
        answers = _answer_all(
            self._model, self._encoder, asked, max_new_tokens=self._max_new_tokens, context_tokens=self._context
        )
        return [self._read(answer, draft) for answer, draft in zip(answers, drafts, strict=True)]

    def _read(self, answer: _Answer | None, draft: Draft) -> Revised:
        if answer is None:
            return Revised(None, "", "over_length")
        head, _, text = answer.text.partition("\n")
        tag = self._words.get(head.strip())
        if tag is None:
            return Revised(None, answer.text, "no_tag")
        # A good response stays as it is, to the letter, whatever the reviser writes after its tag.
        return Revised(tag, draft.response) if tag == "GOOD" else _check(tag, text, is_whole=answer.is_whole)


class PromptedReviser:
    """Implements `Reviser` by an instruct model that is told what the judge said (Bai et al. 2022, arXiv:2212.08073).

    The critique is the judge's: its reason under each principle, and its score decides the tag.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        encoder: PromptEncoder,
        config: SeftConfig,
        *,
        max_new_tokens: int,
        context_tokens: int,
    ) -> None:
        self._model, self._encoder, self._config = model, encoder, config
        self._max_new_tokens, self._context = max_new_tokens, context_tokens

    def __call__(self, drafts: Sequence[Draft]) -> list[Revised]:
        tags = [find_tag(draft.opinion.score, self._config) for draft in drafts]
        places = [place for place, tag in enumerate(tags) if tag != "GOOD"]
        asked = [ask_for_revision(drafts[at], tag=tags[at], instruction=self._config.instruction) for at in places]
        answers = _answer_all(
            self._model, self._encoder, asked, max_new_tokens=self._max_new_tokens, context_tokens=self._context
        )
        revised = [Revised(tag, draft.response) for tag, draft in zip(tags, drafts, strict=True)]
        for place, answer in zip(places, answers, strict=True):
            revised[place] = (
                Revised(tags[place], "", "over_length")
                if answer is None
                else _check(tags[place], answer.text.strip(), is_whole=answer.is_whole)
            )
        return revised


def find_tag(score: float, config: SeftConfig) -> Tag:
    """How much is wrong with a response of this score by the judge."""
    return "GOOD" if score >= config.good_from else "MAJOR" if score < config.major_below else "MINOR"


def ask_for_revision(draft: Draft, *, tag: Tag, instruction: str) -> tuple[SegmentedMessage, ...]:
    """What a prompted reviser reads: the conversation with its reply, and a turn that says what to improve.

    Text of the conversation, the reply and the judge is not trusted.
    """
    parts: list[Segment] = [Segment("Your last reply was judged by these principles.\n", True)]
    for reason in draft.opinion.reasons:
        parts.append(Segment(f"\nPrinciple: {reason.principle}\n", True))
        if words := " ".join(reason.words.split()):
            parts += [Segment("The judge said: ", True), Segment(words, False), Segment("\n", True)]
    extent = "Change as little as possible." if tag == "MINOR" else "Write it from scratch if that is better."
    parts.append(Segment(f"\n{instruction} {extent}", True))
    return (*_as_turns(draft.prompt, draft.response), SegmentedMessage("user", tuple(parts)))


def _as_turns(prompt: Prompt, response: str) -> tuple[SegmentedMessage, ...]:
    return (*prompt.as_segments(), SegmentedMessage("assistant", (Segment(response, False),)))


class _Answer(NamedTuple):
    text: str
    is_whole: bool


def _check(tag: Tag, text: str, *, is_whole: bool) -> Revised:
    return Revised(tag, text, "cut" if not is_whole else "" if text.strip() else "empty")


def _answer_all(
    model: PreTrainedModel,
    encoder: PromptEncoder,
    chats: Sequence[tuple[SegmentedMessage, ...]],
    *,
    max_new_tokens: int,
    context_tokens: int,
) -> list[_Answer | None]:
    """A greedy answer to each; None where it leaves no room for one."""
    prompts = encoder.encode_batch(chats) if chats else []
    fitting = [place for place, ids in enumerate(prompts) if len(ids) + max_new_tokens <= context_tokens]
    answers: list[_Answer | None] = [None] * len(prompts)
    for places in _cut(sorted(fitting, key=lambda place: len(prompts[place]))):
        with PLAIN.applied(model):
            decoded = decode(
                model,
                [prompts[place] for place in places],
                max_new_tokens=max_new_tokens,
                uniforms=None,
                stop_ids=encoder.stop_token_ids,
                pad_id=encoder.pad_token_id,
            )
        for place, ids, finished in zip(places, decoded.token_ids, decoded.finished, strict=True):
            answers[place] = _Answer(encoder.decode(ids[:-1] if finished else ids), finished)
    return answers


def _cut(places: Sequence[int]) -> Iterator[Sequence[int]]:
    for at in range(0, len(places), BATCH):
        yield places[at : at + BATCH]
