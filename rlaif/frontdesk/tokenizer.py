"""The front desk's tokenizer: every word of its world is one token, with or without a space before it.

Makes a PreTrainedTokenizerFast with chat template; decode(encode(text)) is the text for every such text.
The words come from the world's own tables. Does not learn from data and knows no seed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rlaif.frontdesk import judge_text, replies, wordings, world

PAD, UNK, END, SYSTEM, USER, ASSISTANT = (
    "<|pad|>",
    "<|unk|>",
    "<|end|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
)
SPECIAL_TOKENS = (PAD, UNK, END, SYSTEM, USER, ASSISTANT)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message['role']) }}{% endif %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def _phrases() -> Iterable[str]:
    """Texts that between them contain every word of the world, as they stand at the start of a text."""
    yield world.SYSTEM
    yield from world.NOTICES
    for values in (world.PLACES, *world.VALUES.values(), world.TITLES, world.SURNAMES, world.STREETS):
        yield from values
    for questions in world.QUESTIONS.values():
        yield from questions
    for table in (replies.OPENERS, replies.CLOSERS, replies.OFFERS, replies.LEAKS, replies.DOUBTS, replies.REACTIONS):
        for texts in table.values():
            yield from texts
    yield from (*replies.EVASIONS, *replies.SHOUTS, *replies.CHATTER)
    for clauses in replies.CLAUSES.values():
        yield from clauses
        yield from (clause[0].upper() + clause[1:] for clause in clauses)
    yield from (wording.text for wording in wordings.all_wordings())
    for template in (judge_text.PAIR_TEMPLATE, judge_text.SCORE_TEMPLATE):
        yield judge_text.template_parts(template)[1]
    yield from (judge_text.VERDICT_MARKER + verdict for verdict in judge_text.VERDICTS)
    yield from (judge_text.SCORE_MARKER + score for score in judge_text.SCORES)
    yield "nine for seven so right"
    for levels in judge_text.LEVEL_WORDS.values():
        yield from (f"A {level}, fits {fit}; B {level}." for level in levels for fit in judge_text.FITS)
    yield from (f"Wants {wording.wanted}:" for wording in wordings.all_wordings())
    yield from ("system: ", "user: ", "assistant: ")


def _normalise(phrase: str) -> str:
    return re.sub(r"\{+ ?(\w+) ?\}+", "", phrase)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of both shipped models."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    pieces: set[str] = set()
    for phrase in _phrases():
        for text in (_normalise(phrase), " " + _normalise(phrase)):
            pieces.update(piece for piece, _ in splitter.pre_tokenize_str(text))
    # Sentence ends and quotes that sampled or truncated texts can hold.
    pieces.update((".", ",", "?", "!", "!!!", ":", ";", "Ċ", "Ġ"))
    vocabulary = {token: index for index, token in enumerate((*SPECIAL_TOKENS, *sorted(pieces)))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    inner.pre_tokenizer = splitter
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner,
        pad_token=PAD,
        unk_token=UNK,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        model_max_length=512,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
