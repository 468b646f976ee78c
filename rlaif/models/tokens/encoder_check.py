"""Whether an encoder gives the token ids that the tokenizer itself gives for its chat template's text.

Tries a handful of conversations when a model is loaded. Texts are compared at each encoding, token ids only here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rlaif.errors import ModelError
from rlaif.models.interface import Chat
from rlaif.records import Segment, SegmentedMessage
from rlaif.records.prompt import Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONVERSATIONS: tuple[tuple[tuple[Role, str], ...], ...] = (
    (("user", "Who's there?\n\n  It is 10:45, café."),),
    (("user", "  Hello \n"),),
    (("user", ""),),
    (("system", "Be brief."), ("user", "Hello")),
    (("user", "Hi"), ("assistant", "Yes, of course."), ("user", "And then?")),
)


def check_tokens(
    encode: Callable[[Chat], list[int]],
    render: Callable[[Sequence[tuple[str, str]]], str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    watch: Callable[..., list[int]],
) -> None:
    """Refuse a tokenizer whose ids the encoder cannot give. encode: gives them, and may add to the rendered text.

    watch: what calls the tokenizer within its bounds.
    """
    for conversation in _CONVERSATIONS:
        try:
            ours = encode([SegmentedMessage(role, (Segment(text, False),)) for role, text in conversation])
            text = render(conversation)
            theirs = watch(partial(_read, tokenizer, text), size=len(text))
        except ModelError:  # the template does not take such a conversation; this is reported when one is to be encoded
            continue
        if ours[: len(theirs)] != theirs:
            at = next((at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), len(ours))
            raise ModelError(
                f"the tokenizer reads its chat template's text in a way that is not known here: it gives the token"
                f" {_name(tokenizer, theirs[at:])} where {_name(tokenizer, ours[at:])} was expected",
                where=tokenizer.name_or_path or type(tokenizer).__name__,
                fix="look at lstrip, rstrip, single_word and normalized of the added tokens in tokenizer.json",
            )


def _read(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _name(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return repr(tokenizer.convert_ids_to_tokens(ids[0])) if ids else "nothing"
