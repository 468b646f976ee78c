"""What all records share: frozen, closed, and named by a hash of their content.

A record's id is sha256 over its table's name and its content as canonical JSON. What was merely
observed (times, latencies, token counts) lives in `observed`, is stored beside the content, and
never enters an id. Does not know the ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

T = TypeVar("T")

REDACTED = "[redacted]"
"""Text that replaces a redacted text."""


def digest_bytes(data: bytes) -> str:
    """sha256 as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_text(text: str) -> str:
    """sha256 of the text's UTF-8 bytes, as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class computed_once(Generic[T]):
    """A cached property without the lock that functools.cached_property takes in Python 3.11 on each first access."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        # subtle: the class has no __set__, so Python finds the value in the instance's dictionary from now on.
        value: T = self._compute(instance)
        instance.__dict__[self._name] = value
        return value


class Value(BaseModel):
    """A frozen part of a record; unknown fields and non-finite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ignored_types=(computed_once,))


class Served(Value):
    """What a server's answer held, and how the request was made."""

    host: str
    request_id: str = ""
    """The server's id for the reply."""
    calls: int = 1
    """Requests sent to get the reply, retries included."""
    lost_tokens: int = 0
    """Upper bound on the tokens that the server may have charged for requests whose replies were lost."""
    cost: float | None = None
    """Cost at the configured prices, lost tokens included; None where no prices are configured."""
    reasoning_tokens: int = 0
    """Tokens of the reply that were its thinking."""
    tokens_estimated: bool = False
    """True where the server counted no tokens: the counts are then guesses from the length of the texts."""
    had: Literal["nothing", "verdict", "logprobs"] = "nothing"
    """How much of a verdict the server gave."""
    temperature: float | None = None
    """Sampling temperature in the request; None: none was sent."""
    degraded_isolation: bool = True
    """True where texts were sent as text and not as token ids: only the server then keeps them from being read as
    control tokens."""
    neutralised: int = 0
    """Number of control strings in texts from models and data sets that were replaced by look-alikes."""
    detail: str = ""
    """What went wrong; empty where nothing did."""


class Observed(Value):
    """What happened while asking or sampling: stored, never hashed into an id."""

    at: str = ""
    """UTC wall clock, ISO 8601. Data only: nothing is ordered by it."""
    latency_s: float = 0.0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    served_model: str = ""
    """Model name as the server reported it; empty for a local engine."""
    served: Served | None = None
    """Details of a server's answer; None for a local engine."""


class Record(Value):
    """A noun of the program: one class, one table of the ledger."""

    table: ClassVar[str]
    text_fields: ClassVar[tuple[str, ...]] = ()
    """Content fields that may be long or private: the ledger stores them once, by digest."""
    json_fields: ClassVar[tuple[str, ...]] = ()
    """Text fields whose values are not strings; they are stored as JSON."""
    redacted_json: ClassVar[str] = "null"
    """JSON that replaces a redacted value of `json_fields`."""
    left_out_when_empty: ClassVar[tuple[str, ...]] = ()
    """Content fields that are left out of the content, and so of the id, where they are empty."""
    column_when_used: ClassVar[tuple[str, ...]] = ()
    """Fields of `left_out_when_empty` that are a column of an exported table only where one of its records has them."""
    _not_in_content: ClassVar[set[str]] = set()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls._not_in_content = {*cls.text_fields, "observed"} & cls.model_fields.keys()

    @computed_once
    def content_json(self) -> str:
        """Canonical JSON of the content: declaration order, no spaces, then long texts as their digests."""
        empty = {name for name in self.left_out_when_empty if not getattr(self, name)}
        # model_dump_json would take as long for its options as for the content
        content = self.__pydantic_serializer__.to_json(self, exclude=self._not_in_content | empty).decode()
        if not self.text_fields:
            return content
        parts = [content[:-1]] if content != "{}" else []
        for name, digest in self.text_digests.items():
            parts.append(f'"{name}":"{digest}"' if digest else f'"{name}":null')
        return ("" if content != "{}" else "{") + ",".join(parts) + "}"

    @computed_once
    def texts(self) -> dict[str, str | None]:
        """Text field -> its text, None where the field is not set."""
        return {
            name: to_json(value).decode() if name in self.json_fields and value is not None else value
            for name in self.text_fields
            for value in (getattr(self, name),)
        }

    @computed_once
    def text_digests(self) -> dict[str, str | None]:
        """Text field -> sha256 of its text, None where the field is not set."""
        return {name: None if text is None else digest_text(text) for name, text in self.texts.items()}

    @computed_once
    def id(self) -> str:
        """32 hex digits: half of sha256 over the table's name and the content."""
        return digest_text(f"{self.table}\n{self.content_json}")[:32]

    @classmethod
    def restore(
        cls,
        content_json: str,
        *,
        texts: Mapping[str, str | None],
        observed_json: str | None = None,
        record_id: str | None = None,
    ) -> Self:
        """The record made from its stored content and from the texts that the content names by digest.

        A text that is None is redacted.

        With `record_id` the record keeps the id and the content it was stored under, whatever fields
        its class has gained since and whatever was redacted.
        """
        fields = json.loads(content_json)
        digests = {name: fields.get(name) for name in cls.text_fields}
        for name, digest in digests.items():
            if digest is not None:
                text = texts[digest]
                if name in cls.json_fields:
                    fields[name] = json.loads(cls.redacted_json if text is None else text)
                else:
                    fields[name] = REDACTED if text is None else text
        if observed_json is not None:
            fields["observed"] = json.loads(observed_json)
        pinned = {name: fields.pop(name) for name in cls.model_computed_fields if name in fields}
        record = cls.model_validate(fields)
        if record_id is not None:
            record.__dict__.update(pinned, id=record_id, content_json=content_json, text_digests=digests)
        return record

    def changed(self, **changes: Any) -> Self:
        """A validated copy with some fields changed, and so with another id."""
        return type(self).model_validate({**self.model_dump(round_trip=True), **changes})
