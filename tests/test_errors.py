"""What a refusal says of a name that does not exist."""

from __future__ import annotations

from rlaif.errors import MAX_NAMES, describe_names


def test_a_misspelt_name_is_answered_with_the_near_one_and_all_that_there_are() -> None:
    assert describe_names("kindd", ["brief", "kind"], noun="the principles") == (
        'did you mean "kind"? the principles are brief, kind'
    )


def test_a_name_unlike_all_others_is_answered_with_the_list_alone() -> None:
    assert describe_names("x", ["brief", "kind"], noun="the principles") == "the principles are brief, kind"
    assert describe_names("x", [], noun="the runs") == "the runs are none"


def test_a_long_list_is_cut() -> None:
    said = describe_names("x", [str(n) for n in range(MAX_NAMES + 5)], noun="the runs")
    assert said.endswith(f"{MAX_NAMES - 1}, and 5 more")
