"""What is shown while something takes long."""

from __future__ import annotations

import pytest

from rlaif.console import Progress


def test_a_resumed_progress_counts_only_what_is_left_for_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("judging", 1800, unit="questions") as progress:
        progress._start -= 10
        progress.count_known(886)
        assert capsys.readouterr().err == ""
        progress.advance(1)
        line = capsys.readouterr().err
    assert "judging: 887/1800 questions (886 of 1800 were there already)" in line
    seconds = int(line.rsplit(", ", 1)[1].split()[0])
    assert seconds == pytest.approx(10 * 913, rel=0.1)


def test_a_progress_with_nothing_left_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("judging", 20) as progress:
        for _ in range(20):
            progress.count_known(1)
    assert capsys.readouterr().err.startswith("judging: 20/20 (20 of 20 were there already), 0.0 s")
