"""Chat templates that use up time, memory or text are refused in one sentence, soon, and elsewhere than here."""

import os
import resource
import threading
import time

import pytest
from families import build_tokenizer
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import _compile_jinja_template

from rlaif.errors import ModelError
from rlaif.models.tokens.chat_parts import ChatTemplate
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.models.tokens.template_process import TEMPLATES
from rlaif.models.tokens.template_worker import make_environment

PLAIN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
_LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
_TWICE = "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
_DOUBLED = (
    "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"
    "{{ ns.s | length }}"
)
_BY_ROLE = "{% if messages[0].role == 'system' %}" + _LOOPS + "{% endif %}"
_AGAIN = "{% for i in range(999) %}{% for m in messages %}{{ m.content }}{% endfor %}{% endfor %}"
TIME, SIZE = (
    "does not come to an end",
    "takes more memory|writes more text|refuses|cannot be read|does not come to an end",
)

ENDLESS = {
    "a macro that calls itself twice": (_TWICE, TIME),
    "loops that only some conversations reach": (_BY_ROLE, TIME),
    "a macro that calls itself without end": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "too often"),
    "a loop that calls itself": ("{% for i in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}", "too often|come to"),
    "a power": ("{{ 7 ** (7 ** 7) }}{{ 7 ** (7 ** 10) }}", SIZE),
    "a text of gigabytes": ("{{ 'x' * 2000000000 }}", SIZE),
    "a list of gigabytes": ("{{ ([1] * 2000000000) | length }}", SIZE),
    "a doubled text": (_DOUBLED, SIZE),
    "a wide field": ("{{ '%9999999999d' % 1 }}", SIZE),
    "a wide field by format": ("{{ '{:>9999999999}'.format(1) }}", SIZE),
    "a centred text": ("{{ 'x' | center(9999999999) }}", SIZE),
    "an indented text": ("{{ 'x\\ny' | indent(9999999999) }}", SIZE),
    "padding by a method": ("{{ 'x'.ljust(9999999999) }}{{ '1'.zfill(9999999999) }}", SIZE),
    "wide JSON": ("{{ messages | tojson(indent=999999999) }}", SIZE),
    "a text in many pieces": ("{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "writes more text"),
    "contents again and again": (_AGAIN, "same text more than"),
}  # fmt: skip

UNREADABLE = {
    "a bracket that stays open": ("{{ messages[0 }}", "cannot be read"),
    "a block that stays open": ("{% for m in messages %}", "cannot be read"),
    "an unknown filter": ("{{ 'a' | nosuchfilter }}", "nosuchfilter"),
    "an unknown block": ("{% nosuchblock %}", "nosuchblock"),
    "a bad escape": (r"{{ '\x' }}", "cannot be read"),
    "brackets without end": ("{{ " + "(" * 20000 + ")" * 20000 + " }}", "nested too deeply"),
    "blocks without end": ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, "cannot be read"),
    "a number of many digits": ("{{ " + "9" * 9999 + " }}", "cannot be read"),
    "a source without end": (PLAIN + "x" * 200_000, "characters"),
    "strings without end": ("".join(f"{{{{ 'word{n}' }}}}" for n in range(4000)), "different strings"),
    "another template's file": ("{% include '/etc/passwd' %}", "."),
    "no text": (5, "is not a text"),
}


def _with(template: object) -> PreTrainedTokenizerBase:
    tokenizer = build_tokenizer("chatml")
    tokenizer.chat_template = template
    return tokenizer


def render(source: str, *, times: int) -> None:
    template = ChatTemplate(_with(source))
    for role in ("user", "system") * times:
        template.split(((role, (None,)), ("user", (None,))))


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_without_end_is_refused_soon_and_takes_no_memory_here(name: str) -> None:
    source, words = ENDLESS[name]
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    with pytest.raises(ModelError, match=words) as caught:
        render(source + PLAIN, times=1)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 2
    assert time.monotonic() - start < 60
    assert after.ru_maxrss - before.ru_maxrss < 100 << 10  # KiB
    assert "\n" not in caught.value.sentence
    assert len(caught.value.sentence) < 700


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_template_that_cannot_be_read_is_refused_in_one_sentence(name: str) -> None:
    source, words = UNREADABLE[name]
    with pytest.raises(ModelError, match=words):
        PromptEncoder(_with(source))


def test_a_template_that_went_over_its_limits_once_is_not_rendered_again() -> None:
    template = ChatTemplate(_with(_LOOPS + PLAIN))
    for _ in range(2):
        start = time.monotonic()
        with pytest.raises(ModelError, match=TIME):
            template.split((("user", (None,)),))
        took = time.monotonic() - start
    assert took < 0.5


@pytest.mark.heavy
def test_a_template_that_is_slow_each_time_is_refused_before_long() -> None:
    slow = "{% for i in range(99999) %}{% for j in range(99) %}{% endfor %}{% endfor %}"
    with pytest.raises(ModelError, match=TIME):
        render(slow + PLAIN, times=40)


def test_other_templates_are_rendered_after_one_that_was_stopped() -> None:
    good, bad = ChatTemplate(_with(PLAIN)), ChatTemplate(_with("{{ 'x' * 2000000000 }}"))
    messages = [{"role": "user", "content": "Hé\ud800\u2028"}]
    with pytest.raises(ModelError):
        bad.render(messages, generation_prompt=True)
    TEMPLATES.close()
    assert good.render(messages, generation_prompt=True) == "<|im_start|>user\nHé\ud800\u2028<|im_end|>\n"


def test_a_copy_of_the_process_made_by_fork_and_other_threads_render_too() -> None:
    template = ChatTemplate(_with(PLAIN))
    message = [{"role": "user", "content": "Hi"}]
    written = template.render(message, generation_prompt=True)
    child = os.fork()
    if child == 0:
        same = template.render(message, generation_prompt=True) == written
        os._exit(0 if same else 1)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(template.render(message, generation_prompt=True)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [written] * 4
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_templates_know_what_transformers_gives_them() -> None:
    ours, theirs = make_environment(), _compile_jinja_template(PLAIN).environment
    assert set(ours.globals) == set(theirs.globals)
    assert set(ours.filters) == set(theirs.filters)
    assert set(ours.tests) == set(theirs.tests)
    assert (ours.trim_blocks, ours.lstrip_blocks, ours.autoescape) == (True, True, False)
    assert {name.rpartition(".")[2] for name in theirs.extensions} == {"AssistantTracker", "LoopControlExtension"}


def test_an_answer_between_generation_marks_and_loop_controls_is_rendered_as_transformers_does() -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}<|im_start|>{{ m.role }}\n"
        "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
        "{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}{{ messages[0] | tojson }}"
    )
    tokenizer = _with(source)
    messages = [{"role": "user", "content": "<é>"}, {"role": "assistant", "content": "b"}]
    theirs = tokenizer.apply_chat_template(messages, tokenize=False)
    assert ChatTemplate(tokenizer).render(messages, generation_prompt=False) == theirs
