"""The text of the tokens that a server lists, however the server spells them.

Some servers write a token as its vocabulary does, or as its bytes. A spelling counts only where the tokens in it make
up the reply's text. A token that is named by its number alone has no text. Sends nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Spelling = Callable[[Mapping[str, Any]], str]
"""An entry of a list of tokens, which has a text `token` -> its text."""
_HEX = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_NUMBER = re.compile(r"token_id:\d+")


def choose_spelling(entries: Sequence[Mapping[str, Any]], *, written: str) -> Spelling:
    """The spelling in which the tokens make up what was written; as they are listed where none does."""
    for spelling in _SPELLINGS:
        joined = "".join(map(spelling, entries))
        if written in joined:
            return spelling
    return as_listed


def as_listed(entry: Mapping[str, Any]) -> str:
    return str(entry["token"])


def by_bytes(entry: Mapping[str, Any]) -> str:
    """The text of the field `bytes`; bytes that are a part of a character stay parts of it."""
    return _decode(_given_bytes(entry), entry)


def by_named_bytes(entry: Mapping[str, Any]) -> str:
    """The text of tokens such as `bytes:\\xc3` and `<0x0A>`, and SentencePiece's mark for a space."""
    token = as_listed(entry)
    if token.startswith("bytes:"):
        return _decode(_escaped_bytes(token[6:]), entry)
    if found := _HEX.fullmatch(token):
        return _decode(bytes([int(found[1], 16)]), entry)
    return token.replace("\u2581", " ")


def by_byte_level(entry: Mapping[str, Any]) -> str:
    """The text of a token of a byte-level vocabulary, in which a character stands for each byte."""
    token = as_listed(entry)
    if any(character not in _BYTE_OF for character in token):
        return token
    return _decode(bytes(_BYTE_OF[character] for character in token), entry)


def _decode(data: bytes | None, entry: Mapping[str, Any]) -> str:
    return as_listed(entry) if data is None else data.decode("utf-8", "replace")


def _given_bytes(entry: Mapping[str, Any]) -> bytes | None:
    given = entry.get("bytes")
    if not isinstance(given, list) or not given or len(given) > 1024:
        return None
    if not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 256 for one in given):
        return None
    data = bytes(given)
    token = as_listed(entry)
    # Some servers give the bytes of the vocabulary's spelling: then they say nothing new.
    return None if data == token.encode("utf-8", "replace") and not _NUMBER.fullmatch(token) else data


def _escaped_bytes(text: str) -> bytes | None:
    parts = re.findall(r"\\x([0-9A-Fa-f]{2})|([ -~])", text)
    if re.sub(r"\\x[0-9A-Fa-f]{2}|[ -~]", "", text):
        return None
    return bytes(int(code, 16) if code else ord(character) for code, character in parts)


def _name_bytes() -> dict[str, int]:
    """The character of each byte in byte-level vocabularies, as GPT-2 introduced them."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _name_bytes()
_SPELLINGS: tuple[Spelling, ...] = (as_listed, by_bytes, by_named_bytes, by_byte_level)
