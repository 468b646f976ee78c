"""Segmented chat messages -> token ids, such that text from a model or a data set is never a control token.

Control tokens are read from the chat template and from trusted text; all text between them is encoded by a
bare tokenizer that has none, so ordinary prompts get exactly the ids of `apply_chat_template`.
Does not load models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from rlaif.errors import ModelError
from rlaif.models.interface import Chat
from rlaif.models.tokens.answer_form import read_answer_form
from rlaif.models.tokens.bare_tokenizer import WHITE_SPACE, BareTokenizer, make_bare
from rlaif.models.tokens.chat_layout import ChatLayout, LaidOut, strip_segments
from rlaif.models.tokens.chat_parts import ChatTemplate
from rlaif.models.tokens.encoder_check import check_tokens
from rlaif.models.tokens.watched_tokenizer import WatchedTokenizer, cut_long
from rlaif.records import Segment, SegmentedMessage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CACHE_SIZE = 4096
_LINE_START = re.compile(r"(?<=\n)(?=[A-Za-z0-9])")
_RESERVED = ("pad", "reserved", "unused")


class _Text(NamedTuple):
    """A stretch of text between control tokens."""

    text: str
    continues: bool
    """True for text that is encoded without the prefix space that some tokenizers put before a text."""
    trusted: bool
    """True where all of the text is trusted. It will come again, so its ids are kept."""


class PromptEncoder:
    """Turns chats and responses of one model into token ids and back."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, stop_token_ids: Sequence[int] = (), num_rows: int | None = None
    ) -> None:
        """`stop_token_ids`: of the generation config; those of the tokenizer and of the template are added.

        num_rows: rows of the model's embeddings, where they are known; no token beyond them is used for padding.
        """
        self._num_rows = num_rows
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self.where = tokenizer.name_or_path or type(tokenizer).__name__
        if not isinstance(backend, Tokenizer):
            raise ModelError(
                "the tokenizer is not a fast one",
                where=self.where,
                fix="add a tokenizer.json to the model folder",
            )
        self._backend = WatchedTokenizer(backend, where=self.where)
        self._bare = make_bare(backend)
        self._of_start = WatchedTokenizer(self._bare.prefixing, where=self.where)
        self._of_rest = WatchedTokenizer(self._bare.continuing, where=self.where)
        template = ChatTemplate(tokenizer)
        special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._layout = ChatLayout(template, special=special)
        self._may_look_for = template.words.search
        self._scanned: dict[str, tuple[str | int, ...]] = {}
        self._known: dict[_Text, list[int]] = {}
        self._pieces: dict[int, str] = {}
        self._form = read_answer_form(template)
        self._tail, self._end_id = self._find_end(self._form.after)
        ends_in_control = any(isinstance(item, int) for item in self._scan(self._form.prompt)[-1:])
        self._answer_continues = not (ends_in_control and self._bare.prefixes_after_control)
        eos = [token_id for token_id in (tokenizer.eos_token_id, self._end_id) if token_id is not None]
        if not eos and not stop_token_ids:
            raise ModelError(
                "the tokenizer has no end-of-sequence token",
                where=self.where,
                fix="set eos_token in tokenizer_config.json",
            )
        self.stop_token_ids: tuple[int, ...] = tuple(dict.fromkeys((*eos, *stop_token_ids)))
        self.end_token_id: int = self._end_id if self._end_id is not None else self.stop_token_ids[0]
        """The token that ends a response: the one that the template puts after an assistant message, else EOS."""
        self.pad_token_id: int = self._find_pad(tokenizer)
        self.unknown_token_id: int | None = self._bare.unknown_id
        """The token of a piece of text that the model has no token for; None where there is no such piece."""
        unknown = {self._bare.unknown_id} - set(self.stop_token_ids)
        self._forbidden = self._bare.control_ids - unknown
        self._hidden = frozenset((*tokenizer.all_special_ids, *self.stop_token_ids, self.pad_token_id))
        # Decoders strip a space at the start of a text, so a single token is decoded after this one.
        self._anchor = self.encode_trusted("a")
        self._shown_lead, self._shown_tail = self._show(self._form.lead), self._show(self._tail)
        check_tokens(self.encode, self._layout.render, tokenizer, watch=self._backend.watch)

    def encode(self, chat: Chat) -> list[int]:
        """Ids of a conversation and of the generation prompt after it."""
        return self.encode_batch([chat])[0]

    def encode_batch(self, chats: Sequence[Chat]) -> list[list[int]]:
        """Ids of each conversation; faster than one by one."""
        return self._encode([self._lay_out(chat) for chat in chats])

    def encode_conversation(self, chat: Chat) -> list[int]:
        """Ids of a finished conversation as the template ends it, without a generation prompt."""
        return self._encode([self._lay_out(chat, generation_prompt=False)])[0]

    def encode_response(self, text: str) -> list[int]:
        """Ids of an untrusted response as it follows a generation prompt, with the token that ends it."""
        return self.encode_responses([text])[0]

    def encode_responses(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode_response` of each text; faster than one by one."""
        lines = [self._line(self._answer(text), continues=self._answer_continues) for text in texts]
        return [[*ids, self.end_token_id] for ids in self._encode(lines)]

    def encode_answered(self, chat: Chat, text: str) -> list[int]:
        """Ids of a conversation with an untrusted answer that ends it, as the template writes the two together.

        They are those of `encode` and `encode_response`, unless answers do not follow the generation prompt.
        """
        if self.follows_prompt:
            return self.encode(chat) + self.encode_response(text)
        answer = SegmentedMessage("assistant", (Segment(text, False),))
        *segments, last = self._layout.lay_out((*chat, answer), generation_prompt=False).segments
        line = self._line([*segments, Segment(last.text.removesuffix(self._form.after) + self._tail, True)])
        return [*self._encode([line])[0], self.end_token_id]

    @property
    def follows_prompt(self) -> bool:
        """Whether the template writes an answer after its generation prompt, as a model does."""
        return self._form.unlike is None

    def strip_answer(self, text: str) -> str:
        """The answer without white space at its ends that the template does not show; sampled answers keep theirs."""
        return "".join(segment.text for segment in strip_segments([Segment(text, False)], self._form.gap))

    def shows_whole(self, text: str) -> bool:
        """Whether the template shows all of an answer that holds this text: some leave out reasoning."""
        looks = self.follows_prompt and self._may_look_for(text) is not None
        return not looks or self._lay_out_answered(text).is_whole

    def encode_response_start(self, text: str) -> list[int]:
        """Ids of trusted text that is put right after the generation prompt, for the model to continue."""
        lead = "" if text.startswith(self._form.lead) else self._form.lead
        if self._form.opened.strip():
            text = self._fit(text)
        return self._encode([self._line([Segment(lead + text, True)], continues=self._answer_continues)])[0]

    def encode_trusted(self, text: str) -> list[int]:
        """Ids of trusted text that follows other text, such as a verdict's marker after a reason."""
        return self._encode([self._line([Segment(text, True)], continues=True)])[0]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a response's ids, without special tokens and without the template's text around an answer."""
        text = self._backend.decode([i for i in ids if i not in self._hidden])
        return text.removeprefix(self._shown_lead).removesuffix(self._shown_tail)

    def piece(self, token_id: int) -> str:
        """Text of one token in the middle of a reply; a part of a character shows as U+FFFD."""
        piece = self._pieces.get(token_id)
        if piece is None:
            before = self._backend.decode(self._anchor)
            both = self._backend.decode([*self._anchor, token_id])
            piece = self._pieces[token_id] = "" if token_id in self._hidden else both[len(before) :]
        return piece

    def _encode(self, lines: Sequence[Sequence[int | _Text]]) -> list[list[int]]:
        """Each line's texts as ids, in two batches: with and without prefix space."""
        wanted = {item for line in lines for item in line if isinstance(item, _Text)}
        found = {item: self._known[item] for item in wanted if item in self._known}
        for continues, tokenizer in ((False, self._of_start), (True, self._of_rest)):
            texts = [item for item in wanted if item.continues == continues and item not in found]
            for item, ids in zip(texts, _encode_texts(tokenizer, [_well_formed(t.text) for t in texts]), strict=True):
                found[item] = ids
                if not self._forbidden.isdisjoint(ids):
                    raise ModelError(
                        "text would become a control token of this tokenizer",
                        where=self.where,
                        fix="use a tokenizer whose control tokens are added tokens",
                    )
        if len(self._known) > _CACHE_SIZE:
            self._known.clear()
        self._known.update((item, ids) for item, ids in found.items() if item.trusted)
        rows = []
        for line in lines:
            row: list[int] = []
            for part in line:
                if isinstance(part, _Text):
                    row += found[part]
                else:
                    row.append(part)
            rows.append(row)
        return rows

    def _lay_out(self, chat: Chat, *, generation_prompt: bool = True) -> list[int | _Text]:
        segments = self._layout.lay_out(chat, generation_prompt=generation_prompt).segments
        if generation_prompt and self._form.lacks_header:
            header = self._layout.find_header(chat).removesuffix(self._form.lead)
            segments.append(Segment(header, True))
        return self._line(segments)

    def _answer(self, text: str) -> list[Segment]:
        """An answer as it follows the prompt: as sampled, except for a block that the template shows otherwise."""
        text = self._fit(text)
        plain = [Segment(self._form.lead, True), Segment(text, False), Segment(self._tail, True)]
        if not self.follows_prompt or not self._may_look_for(text):
            return plain
        try:
            shown = self._lay_out_answered(text)
        except ModelError:  # the answer was sampled already, so it stays as it is
            return plain
        _, _, first, *rest = shown.segments
        if not shown.is_followed or not first.text.startswith(self._form.prompt):
            return plain
        *rest, last = Segment(first.text.removeprefix(self._form.prompt), True), *rest
        if not last.text.endswith(self._form.after):
            return plain
        return [*rest, Segment(last.text.removesuffix(self._form.after) + self._tail, True)]

    def _lay_out_answered(self, text: str) -> LaidOut:
        chat = [
            SegmentedMessage("user", (Segment("a", False),)),
            SegmentedMessage("assistant", (Segment(text, False),)),
        ]
        return self._layout.lay_out(chat, generation_prompt=False)

    def _fit(self, text: str) -> str:
        """The answer as it continues a generation prompt that the template does not write before answers."""
        form = self._form
        if form.unlike is None:
            return text
        if form.opened and text.startswith(form.opened):
            return text.removeprefix(form.opened)
        if form.closing and form.closing in text:
            return text
        end = f"begin answers with their reasoning and {form.closing}, or " if form.closing else ""
        raise ModelError(
            f"the chat template's generation prompt ends with {form.prompt!r}, and an answer stands after"
            f" {form.unlike!r}: this answer has no place after the prompt",
            where=self.where,
            fix=f"{end}let chat_template.jinja write the same text in both places",
        )

    def _line(self, segments: Sequence[Segment], *, continues: bool = False) -> list[int | _Text]:
        line = _Line(self._bare, continues=continues)
        for text, trusted in segments:
            if trusted:
                line.add_scanned(self._scan(text))
            else:
                line.add_text(text, trusted=False)
        return line.finish()

    def _scan(self, text: str) -> tuple[str | int, ...]:
        """Trusted text cut into plain text and the ids of control tokens, found by the tokenizer itself."""
        pattern = self._bare.control_pattern
        if pattern is not None and not pattern.search(text):
            return (text,) if text else ()
        scanned = self._scanned.get(text)
        if scanned is None:
            text = _well_formed(text)
            encoding = self._backend.encode_with_places(text)
            items: list[str | int] = []
            start = 0
            for token_id, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True):
                if token_id in self._bare.control_ids and token_id != self._bare.unknown_id:
                    items += [text[start:begin], token_id] if begin > start else [token_id]
                    start = end
            scanned = (*items, text[start:]) if start < len(text) else tuple(items)
            if len(self._scanned) >= _CACHE_SIZE:
                self._scanned.clear()
            self._scanned[text] = scanned
        return scanned

    def _find_end(self, after: str) -> tuple[str, int | None]:
        """The text that the template writes after an answer, and the token that ends the answer."""
        items = self._scan(after)
        at = next((at for at, item in enumerate(items) if isinstance(item, int)), None)
        if at is None:
            return "", None
        return "".join(map(str, items[:at])), int(items[at])

    def _show(self, text: str) -> str:
        """The template's own text as `decode` shows it."""
        if not text.strip():
            return text
        ids = self._encode([self._line([Segment(text, True)], continues=True)])[0]
        return self._backend.decode([i for i in ids if i not in self._hidden])

    def _find_pad(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """A padding token that ends nothing, else EOS, which is safe because masks come from lengths, not from ids."""
        own = tokenizer.pad_token_id
        if own is not None and self._has_row(own) and own not in (tokenizer.eos_token_id, self.end_token_id):
            return int(own)
        named = [(token_id, token.content) for token_id, token in tokenizer.added_tokens_decoder.items()]
        reserved = [i for i, content in named if any(word in content.lower() for word in _RESERVED)]
        for token_id in (tokenizer.unk_token_id, *reserved):
            if token_id is not None and self._has_row(token_id) and token_id not in self.stop_token_ids:
                return int(token_id)
        return self.stop_token_ids[0]

    def _has_row(self, token_id: int) -> bool:
        return self._num_rows is None or token_id < self._num_rows


class _Line:
    """Collects control tokens and the texts between them."""

    def __init__(self, bare: BareTokenizer, *, continues: bool = False) -> None:
        self._bare = bare
        self._items: list[int | _Text] = []
        self._texts: list[str] = []
        self._trusted, self._continues = True, continues

    def add_text(self, text: str, *, trusted: bool) -> None:
        self._texts.append(text)
        self._trusted &= trusted

    def add_scanned(self, items: Sequence[str | int]) -> None:
        for item in items:
            if isinstance(item, str):
                self._texts.append(item)
            else:
                self._end_text(before=item)
                self._items.append(item)
                self._continues = not self._bare.prefixes_after_control

    def _end_text(self, *, before: int | None = None) -> None:
        """End the text under way, without the white space that a control token beside it takes."""
        text = "".join(self._texts)
        if self._bare.take_right and self._items and self._items[-1] in self._bare.take_right:
            text = text.lstrip(WHITE_SPACE)
        if before in self._bare.take_left:
            text = text.rstrip(WHITE_SPACE)
        if text:
            first, *rest = cut_long(text)
            self._items.append(_Text(first, self._continues, self._trusted))
            self._items += [_Text(piece, True, self._trusted) for piece in rest]
        self._texts, self._trusted = [], True

    def finish(self) -> list[int | _Text]:
        self._end_text()
        return self._items


def _encode_texts(tokenizer: WatchedTokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Ids of each text. Where lines are encoded one by one, a line that several texts share is encoded once."""
    if not _encodes_lines_apart(tokenizer.tokenizer):
        return tokenizer.encode(texts)
    lines = [_LINE_START.split(text) for text in texts]
    different = list(dict.fromkeys(chain.from_iterable(lines)))
    ids = dict(zip(different, tokenizer.encode(different), strict=True))
    return [list(chain.from_iterable(ids[line] for line in text)) for text in lines]


def _encodes_lines_apart(tokenizer: Tokenizer) -> bool:
    """True where no token reaches over a line's end to a letter or digit: GPT-2's split, and nothing before it."""
    split = tokenizer.pre_tokenizer
    is_gpt2 = isinstance(split, ByteLevel) and split.use_regex and not split.add_prefix_space
    return is_gpt2 and tokenizer.normalizer is None


def _well_formed(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no tokenizer takes."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def choice_token_ids(encoder: PromptEncoder, marker: str, choices: Sequence[str]) -> tuple[int, ...]:
    """The token of each verdict string after the marker; refused unless each string is one token, unlike the others."""
    before = encoder.encode_trusted(marker)
    found: dict[int, str] = {}
    for choice in choices:
        ids = encoder.encode_trusted(marker + choice)
        if ids[:-1] != before or ids[-1] == encoder.unknown_token_id:
            raise ModelError(
                f'after "{marker}" the verdict "{choice}" is not one token of this judge',
                where=encoder.where,
                fix="use verdict strings of one token each, with the space before them",
            )
        if ids[-1] in found:
            raise ModelError(
                f'the verdicts "{found[ids[-1]]}" and "{choice}" are the same token of this judge',
                where=encoder.where,
                fix="use verdict strings that this judge's tokenizer tells apart",
            )
        found[ids[-1]] = choice
    return tuple(found)
