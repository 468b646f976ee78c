"""Whatever a function of the user does is a value, or one sentence that names the function and the line."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlaif.config.functions import load_function
from rlaif.config.user_code import MAX_LINES
from rlaif.errors import ConfigError, FunctionError

Make = Callable[[str], str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Write a module into the working directory; its name, which no other test uses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def write(source: str) -> str:
        name = f"users_{random.getrandbits(60)}"
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        return name

    return write


def load(name: str) -> Callable[..., Any]:
    return load_function(f"{name}:f", what="measure", where="evaluation.measures")


CALLS = {
    "raise ValueError('boom')": "raised ValueError: boom",
    "raise ValueError('two\\nlines ' + 'x' * 5000)": "raised ValueError: two lines xxx",
    "sys.exit(0)": "raised SystemExit: 0",
    "os._exit(0)": "called os._exit(0)",
    "raise KeyboardInterrupt": "raised KeyboardInterrupt",
    "raise GeneratorExit": "raised GeneratorExit",
    "raise StopIteration": "raised StopIteration",
    "raise type('Odd', (BaseException,), {})('x')": "raised Odd: x",
    "return f(*given)": "raised RecursionError",
    "return input('? ')": "raised EOFError",
    "return undefined": "raised NameError",
}


@pytest.mark.parametrize(("line", "said"), CALLS.items())
def test_a_call_that_gives_no_value_is_one_sentence(make: Make, line: str, said: str) -> None:
    name = make(f"import os, sys\ndef f(*given):\n    {line}\n")
    with pytest.raises(FunctionError) as caught:
        load(name)(1, 2)
    assert caught.value.exit_code == 1
    assert f'the measure "{name}:f" {said}' in caught.value.what
    assert caught.value.where.endswith(f"{name}.py:3")
    assert len(caught.value.sentence) < 800


IMPORTS = {
    "raise SystemExit(0)": "raised SystemExit: 0",
    "import os; os._exit(0)": "called os._exit(0)",
    "1/0": "raised ZeroDivisionError",
    "def f(:": "raised SyntaxError",
    "raise KeyboardInterrupt": "raised KeyboardInterrupt",
    "input()": "raised EOFError",
    "import nowhere_to_be_found": "No module named",
}


@pytest.mark.parametrize(("source", "said"), IMPORTS.items())
def test_a_module_that_cannot_be_imported_is_bad_input(make: Make, source: str, said: str) -> None:
    name = make(source)
    with pytest.raises(ConfigError) as caught:
        load(name)
    assert caught.value.exit_code == 2
    assert said in caught.value.what
    assert f"evaluation.measures, {Path.cwd() / name}.py:1" == caught.value.where


@pytest.mark.parametrize("spec", ["a..b:f", ".a:f", "a b:f", "no.such.module:f", "a\0b:f"])
def test_a_name_that_is_none_of_a_module_is_bad_input(make: Make, spec: str) -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        load_function(spec, what="measure", where="evaluation.measures")


@pytest.mark.parametrize("source", ["", "f = 3", "f = None"])
def test_what_is_no_function_is_bad_input(make: Make, source: str) -> None:
    with pytest.raises(ConfigError, match='has no function "f"'):
        load(make(source))


@pytest.mark.parametrize("head", ["def f(prompt)", "def f()", "def f(a, b, c)", "def f(a, *, b)", "class f"])
def test_a_function_that_cannot_be_called_as_it_will_be_is_refused_before_any_work(make: Make, head: str) -> None:
    name = make(f"{head}: ...")
    with pytest.raises(
        ConfigError, match=f'the measure "{name}:f" is called with prompt, response, and cannot be'
    ) as e:
        load(name)
    assert "let it take 2 arguments, in this order" in str(e.value)


@pytest.mark.parametrize(
    "head", ["def f(a, b)", "def f(*given)", "def f(a, b, c=1)", "def f(a, b, **more)", "f = max #"]
)
def test_a_function_that_can_be_called_is_loaded(make: Make, head: str) -> None:
    load(make(f"{head}: ..."))


def test_an_asynchronous_function_is_refused(make: Make) -> None:
    with pytest.raises(FunctionError, match="is asynchronous"):
        load(make("async def f(*given):\n    return 1\n"))()


def test_a_generator_is_read_to_its_end(make: Make) -> None:
    assert load(make("def f(*given):\n    yield from given\n"))(1, 2) == [1, 2]
    with pytest.raises(FunctionError, match="raised ValueError: late"):
        load(make("def f(*given):\n    yield 1\n    raise ValueError('late')\n"))()


def test_what_a_function_prints_is_cleaned_and_bounded(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    name = make(
        "print('at import')\ndef f(*given):\n    print('\\x1b[2J' + 'x' * 10**6)\n    [print(n) for n in range(1000)]\n"
    )
    load(name)()
    out, err = capsys.readouterr()
    assert out == ""
    assert "at import" in err
    assert "\x1b" not in err
    assert "<U+001B>[2Jxxx" in err
    assert err.count("\n") == MAX_LINES + 2
    assert "the rest is not shown" in err


def test_the_working_directory_and_the_streams_are_as_before(make: Make) -> None:
    before = (Path.cwd(), sys.stdin, sys.stdout, os._exit)
    for line in ("os.chdir('/')", "os.chdir('/'); raise ValueError"):
        function = load(make(f"import os\ndef f(*given):\n    {line}\n"))
        if "raise" in line:
            with pytest.raises(FunctionError):
                function()
        else:
            function()
        assert (Path.cwd(), sys.stdin, sys.stdout, os._exit) == before


def test_a_person_who_interrupts_a_function_interrupts_the_run(make: Make) -> None:
    function = load(
        make(f"import os\ndef f(*given):\n    os.kill(os.getpid(), {int(signal.SIGINT)})\n    return [0] * 10\n")
    )
    with pytest.raises(KeyboardInterrupt):
        function()


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("rlaif.evaluation.measure:count_words", 'rlaif has no module "rlaif.evaluation.measure" for a measure'),
        ("rlaif.nosuch.module:f", 'rlaif has no module "rlaif.nosuch.module" for a measure'),
        (
            "rlaif.evaluation.measures:count_word",
            'has no function "count_word" .*did you mean "count_words". its functions are .*count_words',
        ),
    ],
)
def test_a_wrong_name_of_ours_is_a_sentence_with_the_names_that_exist(spec: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_function(spec, what="measure", where="evaluation.measures")


def test_a_wrong_name_in_a_users_module_lists_the_functions_that_the_module_defines(make: Make) -> None:
    name = make("from math import sin\ndef thanks(p, r): return {}\ndef polite(p, r): return {}\ndef _own(): pass\n")
    with pytest.raises(ConfigError, match=r'has no function "f" .*: its functions are thanks, polite$'):
        load(name)
