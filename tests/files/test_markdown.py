"""Text of strangers in a card is no markup, no HTML and no further line."""

from __future__ import annotations

import pytest

from rlaif.files.markdown import inline_code, plain_text

HOSTILE = "a\n---\n<b>x</b> [l](http://evil) ![i](x) `c` | \x1b[2J \u202e \x9b &lt;"


@pytest.mark.parametrize("write", [inline_code, plain_text])
def test_a_name_stays_in_its_line_and_holds_no_control_character(write: object) -> None:
    assert callable(write)
    shown = write(HOSTILE)
    assert "\n" not in shown
    assert all(character.isprintable() for character in shown)


def test_markup_is_escaped_and_code_cannot_be_left() -> None:
    assert "<b>" not in plain_text(HOSTILE)
    assert "[l](" not in plain_text(HOSTILE)
    assert inline_code(HOSTILE).count("`") == 2
    assert "|" not in inline_code(HOSTILE)
