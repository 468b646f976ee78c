"""An address that is none is refused before anything is sent, and no part of it is repeated."""

import pytest

from rlaif.config.addresses import find_address_fault, format_host


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/v1", "https://api.host.com/v1/", "http://127.0.0.1:80", "http://[::1]:8000/v1",
        "http://10.0.0.7:8000/token-in-the-path/v1", "HTTP://my_service/v1", "http://192.168.1.4/v1",
    ],
)  # fmt: skip
def test_an_ordinary_address_has_no_fault(url):
    assert find_address_fault(url) == ""


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "is empty"),
        ("localhost:8000", "http:// or https://"),
        ("ftp://secret-host/v1", "http:// or https://"),
        ("http:///v1", "and a host"),
        ("http://secret host/v1", "a space"),
        ("http://secret/v1\nX: y", "a line break"),
        ("http://secret\x00/v1", "control character"),
        ("http://secret\\@other/v1", "backslash"),
        ("http://sécret/v1", "not ASCII"),
        ("http://secret:port/v1", "cannot be read"),
        ("http://secret:99999/v1", "cannot be read"),
        ("http://secret:0/v1", "port is none"),
        ("http://secret:/v1", "port is none"),
        ("http://[::1/v1", "cannot be read"),
        ("http://sec..ret/v1", "cannot be read"),
        ("http://user:secret@host/v1", "user or a password"),
        ("http://@host/v1", "user or a password"),
        ("http://host/v1?key=secret", "after its path"),
        ("http://host/v1#secret", "after its path"),
        ("http://169.254.169.254/latest", "link-local"),
        ("http://2852039166/latest", "link-local"),
        ("http://0xa9.254.169.254/", "link-local"),
        ("http://[fe80::1]/v1", "link-local"),
        ("http://[::ffff:169.254.169.254]/", "link-local"),
        ("http://metadata.google.internal./v1", "link-local"),
        ("http://100.100.100.200/", "link-local"),
    ],
)
def test_what_is_no_address_has_a_fault_that_repeats_nothing_of_it(url, fault):
    found = find_address_fault(url)
    assert fault in found
    assert "secret" not in found


def test_an_address_of_a_reward_server_may_hold_a_query():
    assert find_address_fault("http://host/score?model=7", with_query=True) == ""
    assert find_address_fault("http://host/score#x", with_query=True) != ""


def test_only_host_and_port_are_shown():
    assert format_host("https://host.com/account-token/v1") == "host.com"
    assert format_host("http://[::1]:8000/v1") == "[::1]:8000"
