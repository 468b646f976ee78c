"""What is wrong with the address of a server, wherever a user gives one: in an option or in the environment.

Repeats no part of an address, because paths and queries may hold keys. Asks no server and resolves no names.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import SplitResult, urlsplit

_METADATA = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})
_METADATA_ADDRESSES = frozenset({"100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"})
"""Addresses at which clouds hand the keys of a machine to whatever runs on it."""
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


def find_address_fault(url: str, *, with_query: bool = False) -> str:
    """Why this is no address of a server, as the rest of a sentence about it; empty where it is one.

    `with_query`: whether the address may hold a query, as those of reward servers may.
    """
    if not url:
        return "is empty"
    if any(character.isspace() or not character.isprintable() for character in url) or "\\" in url:
        return "is no address of a server: it holds a space, a line break, a backslash or a control character"
    if not url.isascii():
        return "is no address of a server: it holds a character that is not ASCII"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no address of a server: its host or its port cannot be read"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "is no address of a server: it does not begin with http:// or https:// and a host"
    if port == 0 or parts.netloc.endswith(":"):
        return "is no address of a server: its port is none"
    if "@" in parts.netloc:
        return "holds more than an address: a user or a password"
    if parts.fragment or "#" in url or (not with_query and "?" in url):
        return "holds more than an address: something after its path"
    return _find_host_fault(parts.hostname)


def format_host(url: str) -> str:
    """Host and port of an address that has no fault: all that is stored or shown of it."""
    parts = urlsplit(url)
    return _host_of(parts)


def _host_of(parts: SplitResult) -> str:
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return shown if parts.port is None else f"{shown}:{parts.port}"


def _find_host_fault(host: str) -> str:
    address = _read_ip(host)
    if address is None:
        if not _HOST.fullmatch(host) or ".." in host:
            return "is no address of a server: its host cannot be read"
        is_metadata = host.rstrip(".").lower() in _METADATA
    else:
        is_metadata = is_guarded_ip(address)
    if is_metadata:
        return "names a link-local address, which is none of a model's server: clouds keep a machine's keys there"
    return ""


def is_guarded_ip(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether this is a link-local address or one of a cloud's metadata, at which no model's server is."""
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    plain = inner or address
    return plain.is_link_local or plain.is_multicast or str(plain) in _METADATA_ADDRESSES


def _read_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address in any of the spellings that a resolver takes, such as 2852039166; None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    if not re.fullmatch(r"(?:0x[0-9a-fA-F]+|[0-9]+)(?:\.(?:0x[0-9a-fA-F]+|[0-9]+)){0,3}\.?", host):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None
