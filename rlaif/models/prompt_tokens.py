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
from rlaif.models.bare_tokenizer import make_bare
from rlaif.models.chat_parts import ChatParts, ChatTemplate, Gap, LeftOut, Structure
from rlaif.models.interface import Chat
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
    """Encoded without the prefix space that some tokenizers put before a text."""
    trusted: bool
    """All of it is trusted: it will come again, so its ids are kept."""


class _Layout(NamedTuple):
    """How conversations of one structure are laid out."""

    folded: bool
    """The template has no system role: the system text goes into the first user turn."""
    parts: ChatParts


class PromptEncoder:
    """Turns chats and responses of one model into token ids and back."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, stop_token_ids: Sequence[int] = ()) -> None:
        """`stop_token_ids`: those of the generation config, beside the tokenizer's and the template's own."""
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self.where = tokenizer.name_or_path or type(tokenizer).__name__
        if not isinstance(backend, Tokenizer):
            raise ModelError(
                "the tokenizer is not a fast one",
                where=self.where,
                fix="add a tokenizer.json to the model folder",
            )
        self._backend = backend
        self._bare = make_bare(backend)
        self._template = ChatTemplate(tokenizer)
        self._layouts: dict[tuple[Structure, bool], _Layout] = {}
        self._scanned: dict[str, tuple[str | int, ...]] = {}
        self._known: dict[_Text, list[int]] = {}
        self._pieces: dict[int, str] = {}
        self._lead, self._answer_continues, self._end_id = self._read_answer_form()
        eos = [token_id for token_id in (tokenizer.eos_token_id, self._end_id) if token_id is not None]
        if not eos and not stop_token_ids:
            raise ModelError(
                "the tokenizer has no end-of-sequence token",
                where=self.where,
                fix="set eos_token in tokenizer_config.json",
            )
        self.stop_token_ids: tuple[int, ...] = tuple(dict.fromkeys((*eos, *stop_token_ids)))
        self.end_token_id: int = self._end_id if self._end_id is not None else self.stop_token_ids[0]
        """What ends a response: the token that the template puts after an assistant message, else EOS."""
        self.pad_token_id: int = self._find_pad(tokenizer)
        self.unknown_token_id: int | None = self._bare.unknown_id
        """What a piece of text becomes that the model has no token for; None where there is no such piece."""
        unknown = {self._bare.unknown_id} - set(self.stop_token_ids)
        self._forbidden = self._bare.control_ids - unknown
        self._hidden = frozenset((*tokenizer.all_special_ids, *self.stop_token_ids, self.pad_token_id))
        # Decoders strip a space at the start of a text, so a single token is read behind this one.
        self._anchor = self.encode_trusted("a")

    def encode(self, chat: Chat) -> list[int]:
        """Ids of a conversation and of the generation prompt after it."""
        return self.encode_batch([chat])[0]

    def encode_batch(self, chats: Sequence[Chat]) -> list[list[int]]:
        """Ids of each conversation; faster than one by one."""
        return self._encode([self._lay_out(chat) for chat in chats])

    def encode_conversation(self, chat: Chat) -> list[int]:
        """Ids of a conversation that is over, as the template ends it: no generation prompt after it."""
        return self._encode([self._lay_out(chat, generation_prompt=False)])[0]

    def encode_response(self, text: str) -> list[int]:
        """Ids of an untrusted response as it follows a generation prompt, with the token that ends it."""
        return self.encode_responses([text])[0]

    def encode_responses(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode_response` of each text; faster than one by one."""
        lines = [[_Text(self._lead + text, self._answer_continues, False)] for text in texts]
        return [[*ids, self.end_token_id] for ids in self._encode(lines)]

    def encode_response_start(self, text: str) -> list[int]:
        """Ids of trusted text that is put right after the generation prompt, for the model to go on from."""
        led = text if text.startswith(self._lead) else self._lead + text
        return self._encode([[_Text(led, self._answer_continues, True)]])[0]

    def encode_trusted(self, text: str) -> list[int]:
        """Ids of trusted text that goes on after other text, such as a verdict's marker after a reason."""
        line = _Line(self._bare.prefixes_after_control, continues=True)
        line.add_scanned(self._scan(text))
        return self._encode([line.finish()])[0]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a response's ids, without special tokens and the space a template puts before an answer."""
        text = self._backend.decode([i for i in ids if i not in self._hidden], skip_special_tokens=False)
        return text.removeprefix(self._lead) if self._lead else text

    def piece(self, token_id: int) -> str:
        """Text of one token in the middle of a reply; a part of a character shows as U+FFFD."""
        piece = self._pieces.get(token_id)
        if piece is None:
            before = self._backend.decode(self._anchor, skip_special_tokens=False)
            both = self._backend.decode([*self._anchor, token_id], skip_special_tokens=False)
            piece = self._pieces[token_id] = "" if token_id in self._hidden else both[len(before) :]
        return piece

    def _encode(self, lines: Sequence[Sequence[int | _Text]]) -> list[list[int]]:
        """Each line's texts as ids, in two batches: with and without prefix space."""
        wanted = {item for line in lines for item in line if isinstance(item, _Text)}
        found = {item: self._known[item] for item in wanted if item in self._known}
        for continues, tokenizer in ((False, self._bare.prefixing), (True, self._bare.continuing)):
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
        key = (_structure(chat), generation_prompt)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = self._find_layout(chat, generation_prompt=generation_prompt)
        messages = _fold_system(chat) if layout.folded else chat
        line = _Line(self._bare.prefixes_after_control)
        for literal, gap in zip(layout.parts.literals, layout.parts.gaps, strict=False):
            line.add_scanned(self._scan(literal))
            for text, trusted in _strip(messages[gap.message].segments, gap):
                if trusted:
                    line.add_scanned(self._scan(text))
                else:
                    line.add_text(text, trusted=False)
        line.add_scanned(self._scan(layout.parts.literals[-1]))
        return line.finish()

    def _find_layout(self, chat: Chat, *, generation_prompt: bool) -> _Layout:
        structure = _structure(chat)
        if not chat:
            raise ModelError("a conversation has no messages", where=self.where, fix="give at least one message")
        try:
            return _Layout(False, self._template.split(structure, generation_prompt=generation_prompt))
        except ModelError as cause:
            if chat[0].role != "system" or (isinstance(cause, LeftOut) and cause.message != 0):
                raise
            folded = _structure(_fold_system(chat))
            return _Layout(True, self._template.split(folded, generation_prompt=generation_prompt))

    def _scan(self, text: str) -> tuple[str | int, ...]:
        """Trusted text cut into plain text and the ids of control tokens, found by the tokenizer itself."""
        pattern = self._bare.control_pattern
        if pattern is not None and not pattern.search(text):
            return (text,) if text else ()
        scanned = self._scanned.get(text)
        if scanned is None:
            text = _well_formed(text)
            encoding = self._backend.encode(text, add_special_tokens=False)
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

    def _read_answer_form(self) -> tuple[str, bool, int | None]:
        """White space before an answer, whether the answer goes on a text, and the token that ends it."""
        prompt = self._template.split((("user", True),)).literals[-1]
        answered = self._template.split((("user", True), ("assistant", True)), generation_prompt=False)
        *_, asked, after = answered.literals
        lead = asked.removeprefix(prompt) if asked.startswith(prompt) else ""
        ends = [item for item in self._scan(after) if isinstance(item, int) or item.strip()]
        end = ends[0] if ends and isinstance(ends[0], int) else None
        scanned = self._scan(prompt)
        ends_in_text = not scanned or isinstance(scanned[-1], str)
        continues = ends_in_text or not self._bare.prefixes_after_control
        return (lead if not lead.strip() else ""), continues, end

    def _find_pad(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """A token that ends nothing; EOS if there is no other, as masks come from lengths, not from ids."""
        own = tokenizer.pad_token_id
        if own is not None and own not in (tokenizer.eos_token_id, self.end_token_id):
            return int(own)
        named = [(token_id, token.content) for token_id, token in tokenizer.added_tokens_decoder.items()]
        reserved = [i for i, content in named if any(word in content.lower() for word in _RESERVED)]
        for token_id in (tokenizer.unk_token_id, *reserved):
            if token_id is not None and token_id not in self.stop_token_ids:
                return int(token_id)
        return self.stop_token_ids[0]


class _Line:
    """Collects control tokens and the texts between them."""

    def __init__(self, prefixes_after_control: bool, *, continues: bool = False) -> None:
        self._items: list[int | _Text] = []
        self._texts: list[str] = []
        self._trusted = True
        self._continues = continues
        self._continues_after_control = not prefixes_after_control

    def add_text(self, text: str, *, trusted: bool) -> None:
        if text:
            self._texts.append(text)
            self._trusted = self._trusted and trusted

    def add_scanned(self, items: Sequence[str | int]) -> None:
        for item in items:
            if isinstance(item, str):
                self._texts.append(item)
            else:
                self._end_text()
                self._items.append(item)
                self._continues = self._continues_after_control

    def _end_text(self) -> None:
        if self._texts:
            self._items.append(_Text("".join(self._texts), self._continues, self._trusted))
            self._texts, self._trusted = [], True

    def finish(self) -> list[int | _Text]:
        self._end_text()
        return self._items


def _structure(chat: Chat) -> Structure:
    return tuple([(message.role, any(s.text for s in message.segments)) for message in chat])


def _fold_system(chat: Chat) -> list[SegmentedMessage]:
    """The system text at the head of the first user turn, a blank line between."""
    system, *rest = chat
    at = next((number for number, message in enumerate(rest) if message.role == "user"), None)
    if at is None:
        return [SegmentedMessage("user", system.segments), *rest]
    if system.text:
        rest[at] = SegmentedMessage("user", (*system.segments, Segment("\n\n", True), *rest[at].segments))
    return rest


def _strip(segments: Sequence[Segment], gap: Gap) -> Sequence[Segment]:
    """The segments as the template would show their joined text, stripped at either end."""
    if gap.strip_left == "" and gap.strip_right == "":
        return segments
    kept = list(segments)
    while kept and not (text := kept[0].text.lstrip(gap.strip_left)):
        del kept[0]
    if kept:
        kept[0] = Segment(text, kept[0].trusted)
    while kept and not (text := kept[-1].text.rstrip(gap.strip_right)):
        del kept[-1]
    if kept:
        kept[-1] = Segment(text, kept[-1].trusted)
    return kept


def _encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Ids of each text. Where lines are encoded one by one, a line that several texts share is encoded once."""
    if not _encodes_lines_apart(tokenizer):
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    lines = [_LINE_START.split(text) for text in texts]
    different = list(dict.fromkeys(chain.from_iterable(lines)))
    encodings = tokenizer.encode_batch_fast(different, add_special_tokens=False)
    ids = {line: encoding.ids for line, encoding in zip(different, encodings, strict=True)}
    return [list(chain.from_iterable(ids[line] for line in text)) for text in lines]


def _encodes_lines_apart(tokenizer: Tokenizer) -> bool:
    """True where no token reaches over a line's end to a letter or digit: GPT-2's split, and nothing before it."""
    split = tokenizer.pre_tokenizer
    is_gpt2 = isinstance(split, ByteLevel) and split.use_regex and not split.add_prefix_space
    return is_gpt2 and tokenizer.normalizer is None


def _well_formed(text: str) -> str:
    """Lone surrogates, which no tokenizer takes, become U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def choice_token_ids(encoder: PromptEncoder, marker: str, choices: Sequence[str]) -> tuple[int, ...]:
    """The token of each verdict string after the marker; refused unless each is one token of its own."""
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
