"""What all records share: frozen, closed, and named by a hash of their content.

A record's id is sha256 over its table's name and its content as canonical JSON. What was merely
observed (times, latencies, token counts) lives in `observed`, is stored beside the content, and
never enters an id. Does not know the ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json


def digest_bytes(data: bytes) -> str:
    """sha256 as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_text(text: str) -> str:
    """sha256 of the text's UTF-8 bytes, as 64 hex digits."""
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


class Value(BaseModel):
    """A frozen part of a record; unknown fields and non-finite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Observed(Value):
    """What happened while asking or sampling: stored, never hashed into an id."""

    at: str = ""
    """UTC wall clock, ISO 8601. Data only: nothing is ordered by it."""
    latency_s: float = 0.0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    served_model: str = ""
    """What the server said it is; empty for a local engine."""


class Record(Value):
    """A noun of the program: one class, one table of the ledger."""

    table: ClassVar[str]
    text_fields: ClassVar[tuple[str, ...]] = ()
    """Content fields that may be long or private: the ledger stores them once, by digest."""
    json_fields: ClassVar[tuple[str, ...]] = ()
    """Those text fields that are not strings; their text is their JSON."""

    @cached_property
    def content_json(self) -> str:
        """Canonical JSON of the content: declaration order, no spaces, long texts as their digests."""
        left_out = set(self.text_fields)
        if "observed" in type(self).model_fields:
            left_out.add("observed")
        content = self.model_dump_json(exclude=left_out)
        if not self.text_fields:
            return content
        digests = ",".join(
            f'"{name}":"{digest}"' if digest else f'"{name}":null' for name, digest in self.text_digests.items()
        )
        return f"{content[:-1]},{digests}}}" if len(content) > 2 else f"{{{digests}}}"

    @cached_property
    def texts(self) -> dict[str, str | None]:
        """Text field -> its text, None where the field is not set."""
        return {
            name: to_json(value).decode() if name in self.json_fields and value is not None else value
            for name in self.text_fields
            for value in (getattr(self, name),)
        }

    @cached_property
    def text_digests(self) -> dict[str, str | None]:
        """Text field -> sha256 of its text, None where the field is not set."""
        return {name: None if text is None else digest_text(text) for name, text in self.texts.items()}

    @cached_property
    def id(self) -> str:
        """32 hex digits: half of sha256 over the table's name and the content."""
        return digest_text(f"{self.table}\n{self.content_json}")[:32]

    @classmethod
    def restore(cls, content_json: str, *, texts: Mapping[str, str], observed_json: str | None = None) -> Self:
        """The record back from its stored content and the texts that its digests name."""
        fields = json.loads(content_json)
        for name in cls.text_fields:
            if (digest := fields[name]) is not None:
                text = texts[digest]
                fields[name] = json.loads(text) if name in cls.json_fields else text
        if observed_json is not None:
            fields["observed"] = json.loads(observed_json)
        return cls.model_validate(fields)

    def changed(self, **changes: Any) -> Self:
        """A validated copy with some fields changed, and so with another id."""
        return type(self).model_validate({**self.model_dump(), **changes})
