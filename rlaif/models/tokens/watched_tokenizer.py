"""A fast tokenizer whose calls end: bounds of time for its patterns, and of memory for long texts.

A tokenizer.json may hold regular expressions and replacements, which came with the model and may take for ever on the
wrong text. Does not know control tokens or chats.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NoReturn, TypeVar

from tokenizers import Encoding, Tokenizer

from rlaif.errors import ModelError

LONGEST_TEXT = 1 << 20
"""Most characters that are encoded at once; some two hundred bytes of memory are needed for each."""
_PIECE = 1 << 18
_SECONDS, _SECONDS_PER_CHARACTER = 3.0, 20e-6
"""Computing time of one call where the tokenizer has patterns: ordinary ones need a hundredth of it."""
_MOST_GROWTH = 4096
"""How many times as long the replacements of a tokenizer may make a text."""
Result = TypeVar("Result")


class WatchedTokenizer:
    """Encodes and decodes with one tokenizer, within bounds."""

    def __init__(self, tokenizer: Tokenizer, *, where: str) -> None:
        self.tokenizer, self._where = tokenizer, where
        state: dict[str, Any] = json.loads(tokenizer.to_str())
        steps = [state["normalizer"], state["pre_tokenizer"], state["decoder"]]
        self._has_patterns = any("Regex" in part for part in _walk(steps))
        self._broken: str | None = None
        self._check_growth(steps)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without special tokens. Texts that are long together are encoded one after another."""
        ids: list[list[int]] = []
        for group in _groups(texts):
            call = partial(self.tokenizer.encode_batch_fast, group, add_special_tokens=False)
            ids += [encoding.ids for encoding in self.watch(call, size=sum(map(len, group)))]
        return ids

    def encode_with_places(self, text: str) -> Encoding:
        """The encoding of a text, with the place of each token in it."""
        # subtle: unlike `encode`, `encode_batch` lets other threads work meanwhile, this one too
        return self.watch(lambda: self.tokenizer.encode_batch([text], add_special_tokens=False)[0], size=len(text))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens too."""
        return self.watch(
            lambda: str(self.tokenizer.decode_batch([list(ids)], skip_special_tokens=False)[0]), size=8 * len(ids)
        )

    def watch(self, call: Callable[[], Result], *, size: int) -> Result:
        """The result of a call that uses this tokenizer, and lets other threads work meanwhile.

        size: characters that it reads.
        """
        if self._broken is not None:
            self._refuse(self._broken)
        if not self._has_patterns:
            return call()
        found: list[Result] = []
        failed: list[BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                found.append(call())
            except BaseException as cause:  # noqa: BLE001 - raised in the thread that waits
                failed.append(cause)
            done.set()

        until = time.process_time() + _SECONDS + _SECONDS_PER_CHARACTER * size
        threading.Thread(target=work, daemon=True).start()
        while not done.wait(max(0.02, until - time.process_time())):
            if time.process_time() > until:
                self._broken = "a pattern in tokenizer.json does not come to an end"
                self._refuse(self._broken)
        if failed and type(failed[0]).__name__ == "PanicException":  # how the tokenizers' library gives up
            self._broken = f"a pattern in tokenizer.json cannot be used: {failed[0]}"
            self._refuse(self._broken)
        if failed:
            raise failed[0]
        return found[0]

    def _check_growth(self, steps: Sequence[Any]) -> None:
        growth = 1
        for step in _walk(steps):
            if isinstance(added := step.get("content", step.get("prepend")), str):
                growth *= max(1, len(added))
        if growth > _MOST_GROWTH:
            self._refuse(f"the replacements in tokenizer.json make a text up to {growth} times as long")

    def _refuse(self, what: str) -> NoReturn:
        raise ModelError(what, where=self._where, fix="put the tokenizer of the model's family into the model folder")


def cut_long(text: str) -> Iterator[str]:
    """A text in pieces that can be encoded one by one; only a text that is too long is cut, where a word begins."""
    start = 0
    while len(text) - start > LONGEST_TEXT:
        end = next((at for at in range(start + _PIECE, start + _PIECE // 2, -1) if _begins_word(text, at)), None)
        end = start + _PIECE if end is None else end
        yield text[start:end]
        start = end
    yield text[start:] if start else text


def _begins_word(text: str, at: int) -> bool:
    """Whether a single space and a word stand there: no tokenizer joins them to what comes before."""
    return text[at] == " " and not text[at - 1].isspace() and text[at + 1 : at + 2].isalnum()


def _groups(texts: Sequence[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for text in texts:
        if group and size + len(text) > LONGEST_TEXT:
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text)
    if group:
        yield group


def _walk(steps: Any) -> Iterator[dict[str, Any]]:
    """Every object in a tokenizer's steps."""
    if isinstance(steps, dict):
        yield steps
    for part in steps.values() if isinstance(steps, dict) else steps if isinstance(steps, list) else ():
        yield from _walk(part)
