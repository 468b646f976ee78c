"""How many examples a property test tries: its own number, times what `make torture` asks for."""

import os

TIMES = int(os.environ.get("RLAIF_EXAMPLES_TIMES", "1"))


def examples(number: int) -> int:
    """The number of examples of one test."""
    return number * TIMES
