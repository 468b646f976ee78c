"""What is said about an option: the same words in errors, in rlaif.yaml and in the docs."""

from typing import Annotated, Literal

from pydantic import Field

from rlaif.config.base import Config
from rlaif.config.options import Option, describe_config
from rlaif.config.run import RunConfig


class Inner(Config):
    rate: float = Field(0.5, gt=0, le=1)
    """How fast."""
    names: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Which."""


class Outer(Config):
    mode: Literal["a", "b"] = "a"
    """How."""
    limit: int | None = Field(None, ge=1)
    """How many,
    at most."""
    inner: Inner = Inner(rate=0.25)
    """The inner part."""


def test_every_option_is_described_in_words_with_the_default_that_really_holds():
    assert list(describe_config(Outer)) == [
        Option(("mode",), False, "one of a, b", "a", "How."),
        Option(("limit",), False, "a whole number at least 1 or null", None, "How many, at most."),
        Option(("inner",), True, "its options, on lines of their own under it", None, "The inner part."),
        Option(("inner", "rate"), False, "a number above 0, at most 1", 0.25, "How fast."),
        Option(("inner", "names"), False, "a list, each text", (), "Which."),
    ]


def test_every_option_of_a_run_has_a_help_text_that_is_a_sentence():
    unexplained = [o.dotted for o in describe_config(RunConfig) if not o.help.endswith(".")]
    assert unexplained == []
