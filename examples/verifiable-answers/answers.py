"""A reward that can be verified: does the response name the fact that was asked for, and no other one?"""

import re

HOURS = {"two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"}
FLOORS = {"ground", "first", "second", "third", "fourth", "fifth", "top"}


def exact(prompt: list[dict[str, str]], response: str, reference: str) -> float:
    """1 where the only hour or floor in the response is the known answer, else 0."""
    kind = HOURS if reference in HOURS else FLOORS
    named = kind.intersection(re.findall(r"[a-z]+", response.lower()))
    return float(named == {reference})
