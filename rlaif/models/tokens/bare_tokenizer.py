"""A fast tokenizer -> its bare copy, which knows no control token, so that no text can become one.

Control tokens are all added tokens except plain white space: `<|im_end|>`, and also `<think>` and `<tool_call>`,
which `split_special_tokens` would let through. Does not know chats or segments.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from tokenizers import Tokenizer

WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""The characters that the tokenizers' library takes for white space."""


class BareTokenizer(NamedTuple):
    """A tokenizer without control tokens, in two copies, as some tokenizers put a space before a text."""

    prefixing: Tokenizer
    """The copy for text that begins a prompt: with the prefix space, where the tokenizer has one."""
    continuing: Tokenizer
    """The copy for text that follows other text: without the prefix space."""
    prefixes_after_control: bool
    """Whether text right after a control token gets the prefix space too."""
    control_ids: frozenset[int]
    take_left: frozenset[int]
    """Control tokens that take the white space before them (`lstrip`)."""
    take_right: frozenset[int]
    """Control tokens that take the white space after them (`rstrip`)."""
    control_pattern: re.Pattern[str] | None
    """Pattern of any control token; None where the tokenizer searches normalised text for them."""
    unknown_id: int | None
    """The token of an unknown piece; the ids of a text may hold it even where it is an added token."""


def make_bare(backend: Tokenizer) -> BareTokenizer:
    """Copy the tokenizer without its control tokens, post-processor, padding and truncation."""
    state: dict[str, Any] = json.loads(backend.to_str())
    added = state["added_tokens"]
    kept = [token for token in added if token["content"].strip(" \t\n\r▁") == "" and not token["special"]]
    control = {token["content"]: int(token["id"]) for token in added if token not in kept}
    in_plain_text = not any(t["normalized"] for t in added) or state["normalizer"] is None
    pattern = re.compile("|".join(map(re.escape, control)) or "(?!)") if in_plain_text else None
    unknown_id = _remove_from_vocabulary(state["model"], control, kept=kept)
    state.update(added_tokens=kept, post_processor=None, padding=None, truncation=None)
    prefixing = continuing = Tokenizer.from_str(json.dumps(state))
    after_control = _prefixes_after_control(state)
    if after_control is not None:
        _drop_prefix(state)
        continuing = Tokenizer.from_str(json.dumps(state))
    return BareTokenizer(
        prefixing=prefixing,
        continuing=continuing,
        prefixes_after_control=bool(after_control),
        control_ids=frozenset(control.values()),
        take_left=frozenset(control[token["content"]] for token in added if token not in kept and token["lstrip"]),
        take_right=frozenset(control[token["content"]] for token in added if token not in kept and token["rstrip"]),
        control_pattern=pattern,
        unknown_id=unknown_id,
    )


def _remove_from_vocabulary(
    model: dict[str, Any], control: dict[str, int], *, kept: list[dict[str, Any]]
) -> int | None:
    """Remove control tokens from the model's vocabulary too, where whole-word models would find them. Ids stay.

    Returns the token of an unknown piece.
    """
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        unknown_id = model.get("unk_id")
        for token_id in control.values():
            if token_id < len(vocabulary) and token_id != unknown_id:
                # A list must have no hole, so the entry becomes two noncharacters, which no text holds.
                vocabulary[token_id][0] = f"\U0010fffe{token_id}\U0010ffff"
        return unknown_id
    unknown = model.get("unk_token")
    for content in control.keys() - {unknown}:
        vocabulary.pop(content, None)
    for token in kept:
        vocabulary.setdefault(token["content"], token["id"])
    if model.get("merges"):
        gone = control.keys() - {unknown}
        model["merges"] = [merge for merge in model["merges"] if _survives(merge, gone)]
    return vocabulary.get(unknown) if unknown is not None else None


def _survives(merge: str | list[str], gone: set[str]) -> bool:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return not (left in gone or right in gone or left + right in gone)


def _parts(state: dict[str, Any], part: str, inner: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, whether it is one step or a sequence of them."""
    step = state[part]
    if step is None:
        return []
    return list(step[inner]) if step["type"] == "Sequence" else [step]


def _prefixes_after_control(state: dict[str, Any]) -> bool | None:
    """Where a prefix space is put. None: nowhere. True: before every stretch of text. False: where the text begins."""
    found: bool | None = None
    for step in _parts(state, "normalizer", "normalizers"):
        if step["type"] == "Prepend":
            found = True
    for step in _parts(state, "pre_tokenizer", "pretokenizers"):
        if step["type"] == "ByteLevel" and step.get("add_prefix_space"):
            found = True
        if step["type"] == "Metaspace" and step.get("prepend_scheme", "always") != "never":
            found = bool(found) or step.get("prepend_scheme", "always") == "always"
    return found


def _drop_prefix(state: dict[str, Any]) -> None:
    normalizers = [s for s in _parts(state, "normalizer", "normalizers") if s["type"] != "Prepend"]
    state["normalizer"] = {"type": "Sequence", "normalizers": normalizers} if normalizers else None
    for step in _parts(state, "pre_tokenizer", "pretokenizers"):
        if step["type"] == "ByteLevel":
            step["add_prefix_space"] = False
        if step["type"] == "Metaspace":
            step["prepend_scheme"] = "never"
