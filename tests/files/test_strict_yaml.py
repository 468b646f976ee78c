"""The YAML reader: what values mean, which line they stand on, what is refused and in which words."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.errors import ConfigError, ConstitutionError, InputError
from rlaif.files.strict_yaml import MAX_CHARACTERS, load_strict, read_plain_scalar


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_strict(text, where="rlaif.yaml", error=ConfigError)
    return caught.value.sentence


def test_values_and_the_line_of_each_part_come_back():
    text = "seed: 3\nppo:\n  kl_coef: 0.05\n  names:\n    - a\n    - b\n"
    value, lines = load_strict(text, where="rlaif.yaml")
    assert value == {"seed": 3, "ppo": {"kl_coef": 0.05, "names": ["a", "b"]}}
    assert lines[("ppo", "kl_coef")] == 3
    assert lines[("ppo", "names", 1)] == 6


def test_the_line_of_a_missing_part_is_that_of_its_nearest_parent():
    document = load_strict("a: 1\nppo:\n  kl_coef: 0.05\n", where="x")
    assert document.line_of(("ppo", "gamma")) == 2
    assert document.line_of(("nowhere",)) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("3", 3),
        ("-2.5", -2.5),
        ("0x10", 16),
        ("010", 10),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(text, value):
    assert read_plain_scalar(text) == value


def test_a_quoted_number_stays_text():
    assert load_strict("revision: '0123'", where="x").value == {"revision": "0123"}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_a_document_without_content_is_none(text):
    assert load_strict(text, where="x").value is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", ('"a" stands here a second time', "rlaif.yaml:3", "line 1")),
        ("p:\n  k: 1\n  'k': 2\n", ('"p.k" stands here a second time', "rlaif.yaml:3")),
        ("a: &x 1\nb: 2\n", ("the anchor &x", "rlaif.yaml:1")),
        ("b: *x\n", ("the alias *x", "rlaif.yaml:1")),
        ("a: 1\n<<: {b: 2}\n", ("merge key", "rlaif.yaml:2")),
        ("a: !!python/object/apply:os.system ['true']\n", ("the tag", "python/object", "rlaif.yaml:1")),
        ("a: ! 1\n", ("the tag !", "rlaif.yaml:1")),
        ("a: 1\n---\nb: 2\n", ("a second document", "rlaif.yaml:2")),
        ("1: a\n", ("the key '1' is not text", "quotes")),
        ("? [a]\n: b\n", ("a key must be text", "rlaif.yaml:1")),
        ("a: [1\nb: 2\n", ("not valid YAML", "rlaif.yaml:2")),
        ("a: 1\n b: 2\n", ("not valid YAML", "rlaif.yaml:2")),
        ("a: 1\nb: \x07\n", ("a character that YAML does not allow", "rlaif.yaml:2")),
        ("[" * 40, ("deeper than 32", "rlaif.yaml:1")),
        ("a" * (MAX_CHARACTERS + 1), ("1,000,001 characters",)),
    ],
)
def test_what_hides_or_repeats_a_value_is_refused_with_its_line(text, words):
    sentence = refusal(text)
    assert all(word in sentence for word in words), sentence


def test_the_caller_names_the_error_that_is_raised():
    with pytest.raises(ConstitutionError):
        load_strict("a: *b", where="x", error=ConstitutionError)


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!'\"#|>%@`,?\n \t\x00\u2028é0.e"), max_size=60))
def test_any_text_gives_a_value_or_one_sentence(text):
    with contextlib.suppress(InputError):
        load_strict(text, where="x")
