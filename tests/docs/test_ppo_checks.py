"""Every detail of docs/ppo-checks.md has a test, and every test that it names exists."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent
PAGE = (CHECKOUT / "docs" / "ppo-checks.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """First cell -> the tests of its row, for each row of the table under a heading."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| ---")][1:]
    return {line.split("|")[1].strip(): re.findall(r"`(tests/[\w/]+\.py::\w+)`", line) for line in lines}


def test_each_row_of_the_checklist_and_each_broken_promise_has_a_test() -> None:
    assert [name for name, tests in rows("The checklist").items() if tests] == [str(n) for n in range(1, 29)]
    assert [name for name, tests in rows("What TRL 1.12 promises and does not keep").items() if tests] == [
        str(n) for n in range(1, 11) if n != 2
    ]
    assert all(rows("What the objective's optimum says").values())


def test_every_test_that_the_page_names_exists() -> None:
    named = sorted(set(re.findall(r"`(tests/[^`]*)`", PAGE)))
    missing = []
    for test in named:
        path, _, name = test.partition("::")
        file = CHECKOUT / path
        if not name or not file.is_file() or not re.search(rf"^def {name}\(", file.read_text(), flags=re.MULTILINE):
            missing.append(test)
    assert missing == []
    assert len(named) > 50
