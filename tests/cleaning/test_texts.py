"""Texts without a fault stay as they are; a fault is corrected and nothing beside it."""

from __future__ import annotations

import unicodedata

import pytest

from rlaif.cleaning.texts import fix_control, fix_markup, fix_mojibake, fix_unicode


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("cafÃ©", "café"),
        ("itâ€™s open", "it’s open"),
        ("GrÃ¼ÃŸe", "Grüße"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет"),
        ("â‚¬10 â€“ or more", "€10 – or more"),
    ],
)
def test_text_that_was_read_in_a_wrong_encoding_is_read_again(broken: str, whole: str) -> None:
    assert fix_mojibake(broken) == whole


@pytest.mark.parametrize(
    "text", ["café", "“quoted”", "Straße", "日本語です", "Привет", "Ça va", "50 °C ± 2", "naïve", "😀", "São"]
)
def test_rightly_read_text_is_no_mojibake(text: str) -> None:
    assert fix_mojibake(text) == text


def test_decomposed_characters_are_composed() -> None:
    decomposed = unicodedata.normalize("NFD", "Núñez und Müller")
    assert decomposed != "Núñez und Müller" == fix_unicode(decomposed)
    assert fix_unicode("ﬁve ½ ²") == "ﬁve ½ ²", "compatibility characters are no fault"


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("a\x00b\x07c\x1b[31m", "abc[31m"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("zero\u200bwidth\ufeff and soft\u00adhyphen", "zerowidth and softhyphen"),
        ("safe\u202etxt.exe\u202c", "safetxt.exe"),
        ("hidden\U000e0041\U000e0042", "hidden"),
        ("tab\tand\nline stay", "tab\tand\nline stay"),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f", "\U0001f3f4\U000e0067\U000e0062\U000e007f"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_control_and_invisible_characters_go_and_those_that_writing_needs_stay(dirty: str, clean: str) -> None:
    assert fix_control(dirty) == clean


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("<p>Hello <b>you</b></p>", "\nHello you"),
        ("one<br/>two<BR>three", "one\ntwo\nthree"),
        ("Tom &amp; Jerry &lt;3 &#8217; &#x41;", "Tom & Jerry <3 ’ A"),
        ('see <a href="http://x.org">this</a><!-- secret -->', "see this"),
        ("<script>alert(1)</script>text<style>p {}</style>", "text"),
        ("a < b and c > d", "a < b and c > d"),
        ("AT&T; R&D", "AT&T; R&D"),
        ("use `<div>` and ```\n<p>x</p>\n```", "use `<div>` and ```\n<p>x</p>\n```"),
        ("<think>no tag of HTML</think> List<String>", "<think>no tag of HTML</think> List<String>"),
    ],
)
def test_html_goes_and_code_and_mathematics_stay(dirty: str, clean: str) -> None:
    assert fix_markup(dirty) == clean
