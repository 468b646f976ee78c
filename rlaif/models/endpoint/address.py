"""The servers that a user names, with their keys: checked before anything is sent, and struck out of what is shown.

Only an address's host is ever stored or shown. Sends nothing.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, quote_plus, urlsplit

from rlaif.config.addresses import find_address_fault, format_host
from rlaif.errors import ConfigError, InputError

_SHORTEST_KEY, _SHORTEST_SECRET, _SURE_SECRET = 4, 8, 12
"""Shorter keys, such as x, are no secrets; those shorter than the last are struck out only as whole words."""
_COMMON_PARTS = frozenset({
    "completions", "deployments", "chat", "openai", "projects", "locations", "endpoints", "publishers",
    "compatible-mode", "inference", "gateway", "api", "models", "compatibility",
})  # fmt: skip
"""Parts of paths that are no secrets."""
_LONGEST_SAID = 20_000


class Address(NamedTuple):
    """A server's address and our key. Never stored; only `host` is recorded."""

    url: str
    host: str
    key: str | None

    def strike(self, text: str) -> str:
        """A text without the key, in whatever form a server repeats it: quoted, escaped or encoded."""
        if not text or self.key is None or len(self.key) < _SHORTEST_KEY:
            return text
        return re.sub("|".join(map(_pattern, _forms(self.key))), "***", text, flags=re.IGNORECASE)

    def hide(self, text: str) -> str:
        """A server's words on one line, without the key, our address's path, and terminal codes."""
        shown = self.strike(text[:_LONGEST_SAID])
        for secret in (self.url, *self._secrets()):
            shown = shown.replace(secret, self.host if secret == self.url else "***")
        shown = re.sub(r"\b(https?://)[^\s/@'\"<>]*@", r"\1", shown)  # a proxy's user and password
        return "".join(c if c.isprintable() else " " for c in shown)

    def _secrets(self) -> Iterator[str]:
        """The path of the address and its longer parts, in which gateways put tokens; longest first."""
        parts = urlsplit(self.url)
        path = parts.path.removesuffix("/chat/completions")
        segments = [part for part in (*path.split("/"), *re.split(r"[&=]", parts.query)) if part not in _COMMON_PARTS]
        secrets = {part for part in segments if len(part) >= _SHORTEST_SECRET}
        yield from sorted(secrets, key=len, reverse=True)


def find_address(*, base_url_env: str, api_key_env: str, environ: Mapping[str, str]) -> Address:
    """The judge's server, which the environment names."""
    base = environ.get(base_url_env, "").strip()
    if not base:
        raise InputError(
            f"no server is named for the judge: {base_url_env} is not set",
            where="judge.model.engine: openai",
            fix=f"export {base_url_env}=http://localhost:8000/v1, and {api_key_env} if the server wants a key",
        )
    if fault := find_address_fault(base):
        raise InputError(
            f"{base_url_env} {fault}",
            fix=f"write it as http://localhost:8000/v1 or https://HOST/v1, and put a key into {api_key_env}",
        )
    base = base.rstrip("/").removesuffix("/chat/completions")
    return Address(base + "/chat/completions", format_host(base), read_key(api_key_env, environ=environ))


def find_reward_address(url: str, *, api_key_env: str | None, environ: Mapping[str, str]) -> Address:
    """A reward server's address, with the key from the environment. A named variable must be set."""
    if fault := find_address_fault(url, with_query=True):
        raise ConfigError(f"url {fault}", where="ppo.rewards", fix="write it as http://localhost:8000/score")
    host = format_host(url)
    key = read_key(api_key_env, environ=environ) if api_key_env else None
    if api_key_env and not key:
        raise ConfigError(
            f"{api_key_env} is not set, and the reward server {host} is to be sent the key in it",
            where="ppo.rewards",
            fix=f"export {api_key_env}, or leave api_key_env out where the server wants none",
        )
    return Address(url, host, key)


def find_vllm_address(url: str, *, api_key_env: str, environ: Mapping[str, str]) -> Address:
    """The address of a vLLM server that samples for PPO; it may end in /v1 as that of the chat API does."""
    base = url.strip().rstrip("/").removesuffix("/v1")
    if fault := find_address_fault(base):
        raise InputError(
            f"the address {fault}", where="ppo.rollout.server.url", fix="write it as http://localhost:8000"
        )
    return Address(base, format_host(base), read_key(api_key_env, environ=environ))


def read_key(variable: str, *, environ: Mapping[str, str]) -> str | None:
    """The key in a variable of the environment; None where there is none. A key that no header can hold is refused."""
    key = environ.get(variable, "").strip()
    if any(not "!" <= character <= "~" for character in key):
        raise InputError(
            f"{variable} holds no key: there is a space, a line break or a character that is not ASCII in it",
            fix=f"set {variable} to the key alone, on one line and without quotes or comments",
        )
    return key or None


def _forms(key: str) -> list[str]:
    """The forms in which a server may repeat a key, longest first."""
    raw = key.encode()
    forms = {key, quote(key, safe=""), quote_plus(key), json.dumps(key)[1:-1], html.escape(key)}
    for lead in range(3):  # base64 of a text in which the key stands somewhere
        encoded = base64.b64encode(b"x" * lead + raw)
        forms |= {encoded[(0, 2, 3)[lead] : -4].decode(), base64.urlsafe_b64encode(b"x" * lead + raw)[4:-4].decode()}
    forms = {form for form in forms if len(form) >= min(len(key), _SHORTEST_SECRET)}
    return sorted(forms, key=len, reverse=True)


def _pattern(form: str) -> str:
    whole = len(form) < _SURE_SECRET
    return rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])" if whole else re.escape(form)
