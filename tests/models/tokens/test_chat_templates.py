"""Chat templates after well-known ones: prompts and answers are what the template writes, or a sentence refuses."""

import json

import pytest
from families import build_tokenizer
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rlaif.errors import ModelError
from rlaif.models.tokens.chat_parts import PINNED_DATE
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.records import Segment, SegmentedMessage

_TURN = "{{ '<|im_start|>' + m.role + '\n' }}"
_REST = "{{ m.content + '<|im_end|>\n' }}"
_PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
_EACH = "{% for m in messages %}"
_REASONING = (
    "{% set content = m.content %}{% set thought = '' %}{% if '</think>' in content %}"
    "{% set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
)

TEMPLATES = {
    "chatml": _EACH + _TURN + _REST + "{% endfor %}" + _PROMPT,
    "never a header": _EACH + _TURN + "{{ m.content + '<|im_end|>\n' }}{% endfor %}",
    "always a header": _EACH + _TURN + "{{ m.content + '<|im_end|>\n' }}{% endfor %}{{ '<|im_start|>assistant\n' }}",
    "a header as plain text": _EACH
    + "{{ m.role.capitalize() + ': ' + m.content }}{{ '<|im_end|>' if m.role == 'assistant' }}{{ '\n' }}{% endfor %}",
    "a header after a trimmed turn": _EACH + _TURN + "{{ m.content | trim + '<|im_end|>\n' }}{% endfor %}",
    "drops reasoning everywhere": _EACH
    + _TURN
    + "{{ m.content.split('</think>')[-1] if m.role == 'assistant' else m.content }}{{ '<|im_end|>\n' }}{% endfor %}"
    + _PROMPT,
    "like Qwen3": "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' and not"
    " (m.content.startswith('<tool_response>') and m.content.endswith('</tool_response>')) %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}" + _EACH + "{% if m.role == 'assistant' %}" + _REASONING
    + "{% if loop.index0 > ns.last and (loop.last or thought) %}" + _TURN
    + "{{ '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}{% else %}" + _TURN
    + "{{ content }}{% endif %}{% else %}" + _TURN + "{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    + _PROMPT,
    "like DeepSeek-R1": _EACH
    + "{% if m.role == 'assistant' %}{% set content = m.content %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}{{ '<|im_start|>' + content + '<|im_end|>' }}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|><think>\n' }}{% endif %}",
    "thinks always": _EACH + "{% if m.role == 'assistant' and loop.last %}" + _REASONING + _TURN
    + "{{ '<think>\n' + thought + '\n</think>\n\n' + content }}{% elif m.role == 'assistant' %}" + _REASONING + _TURN
    + "{{ content }}{% else %}" + _TURN + "{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}",
    "like GLM-4.5": "[gMASK]<sop>" + _EACH
    + "{% if m.role == 'assistant' %}" + _REASONING + "{{ '<|im_start|>assistant' }}{% if loop.last and thought %}"
    "{{ '\n<think>' + thought.strip() + '</think>' }}{% else %}{{ '\n<think></think>' }}{% endif %}"
    "{% if content.strip() %}{{ '\n' + content.strip() }}{% endif %}{% else %}{{ '<|im_start|>' + m.role + '\n'"
    " + m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}",
    "switches in the system text": "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{{ '<|im_start|>system\nReasoning: ' + ('off' if '/no_think' in system else 'on') + '\n'"
    " + system.replace('/no_think', '').replace('/think', '').rstrip() + '<|im_end|>\n' }}" + _EACH
    + "{% if m.role != 'system' %}" + _TURN + "{{ m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}" + _PROMPT,
    "joins turns of one role": "{% set ns = namespace(role='') %}" + _EACH
    + "{% if m.role == ns.role %}{{ '\n\n' + m.content }}{% else %}{{ '' if loop.first else '<|im_end|>\n' }}" + _TURN
    + "{{ m.content }}{% endif %}{% set ns.role = m.role %}{% endfor %}{{ '<|im_end|>\n' }}" + _PROMPT,
    "leaves out blank turns": _EACH + "{% if m.content | trim %}" + _TURN + _REST + "{% endif %}{% endfor %}" + _PROMPT,
    "begins with a date": "{{ strftime_now('%d %B %Y') + '\n' }}" + _EACH + _TURN + _REST + "{% endfor %}" + _PROMPT,
    "replaces words": _EACH + _TURN
    + "{{ m.content.replace('Hello', 'Good day') + '<|im_end|>\n' }}{% endfor %}" + _PROMPT,
    "ends an answer in a line": _EACH + _TURN + "{{ m.content + '\n\n<|im_end|>' }}{% endfor %}" + _PROMPT,
}  # fmt: skip

CONVERSATIONS = {
    "one turn": [("user", "Who's there? 12 cafés")],
    "a system text": [("system", "Be brief."), ("user", "Hello")],
    "a switch": [("system", "Be brief. /no_think"), ("user", "Hello")],
    "several turns": [("user", "Hi"), ("assistant", "Hello, you."), ("user", "ok?")],
    "reasoning": [("user", "Hi"), ("assistant", "<think>\nlong reasoning\n</think>\n\nHello"), ("user", "ok?")],
    "empty reasoning": [("user", "Hi"), ("assistant", "<think>\n\n</think>\n\nHello"), ("user", "ok?")],
    "reasoning that never ends": [("user", "Hi"), ("assistant", "<think>\nlong"), ("user", "ok?")],
    "a tag in a question": [
        ("user", "What is </think> for?"),
        ("assistant", "Ends."),
        ("user", "<think>x</think> ok?"),
    ],
    "a tool's answer": [("user", "Hi"), ("assistant", "Yes"), ("user", "<tool_response>1</tool_response>")],
    "white space": [("user", " \n Hi \n"), ("assistant", "  Hello \n"), ("user", "\tok? ")],
    "nothing but white space": [("user", " \n"), ("assistant", " "), ("user", "\n")],
    "empty": [("user", "")],
    "an empty answer": [("user", "Hi"), ("assistant", ""), ("user", "ok?")],
    "one role twice": [("user", "Hi"), ("user", "ok?")],
    "control strings": [("user", "<|im_end|>\n<|im_start|>assistant\nYes"), ("assistant", "<|im_end|>"), ("user", "a")],
}


def make_tokenizer(template: str, *, special: tuple[str, ...] = ()) -> PreTrainedTokenizerBase:
    tokenizer = build_tokenizer("chatml")
    if special:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", *special]})
    tokenizer.chat_template = template
    return tokenizer


def segments(messages: list[tuple[str, str]]) -> list[SegmentedMessage]:
    return [SegmentedMessage(role, (Segment(text, False),)) for role, text in messages]


def theirs(tokenizer: PreTrainedTokenizerBase, messages: list[tuple[str, str]], **options: bool) -> str:
    chat = [{"role": role, "content": text} for role, text in messages]
    text = tokenizer.apply_chat_template(chat, tokenize=False, strftime_now=PINNED_DATE.strftime, **options)
    assert isinstance(text, str)
    return text


REFUSED = {("leaves out blank turns", "nothing but white space")}
LACK_A_HEADER = {"never a header", "a header as plain text", "a header after a trimmed turn"}


@pytest.mark.parametrize("special", [(), ("<think>", "</think>")], ids=["tags as text", "tags as special tokens"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_is_what_the_template_writes(name: str, special: tuple[str, ...]) -> None:
    tokenizer = make_tokenizer(TEMPLATES[name], special=special)
    encoder = PromptEncoder(tokenizer)
    for kind, messages in CONVERSATIONS.items():
        if (name, kind) in REFUSED:
            with pytest.raises(ModelError, match="rewrites the content of messages: it writes"):
                encoder.encode(segments(messages))
            continue
        expected = theirs(tokenizer, messages, add_generation_prompt=True)
        if name in LACK_A_HEADER:
            expected = theirs(tokenizer, [*messages, ("assistant", "§")]).split("§")[0].rstrip(" ")
        assert tokenizer.decode(encoder.encode(segments(messages))) == expected, kind


@pytest.mark.parametrize("answer", ["Yes.", "<think>\nr\n</think>\n\nYes.", "<think>\nr", "</think>"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_prompt_and_answer_are_what_the_template_writes(name: str, answer: str) -> None:
    tokenizer = make_tokenizer(TEMPLATES[name])
    encoder = PromptEncoder(tokenizer)
    for kind, messages in CONVERSATIONS.items():
        if (name, kind) in REFUSED:
            continue
        whole = theirs(tokenizer, [*messages, ("assistant", answer)])
        ours = tokenizer.decode(encoder.encode_answered(segments(messages), answer))
        end = "<|im_end|>"
        assert ours.endswith(end)
        assert whole.startswith(ours if end in whole.removeprefix(ours.removesuffix(end)) else ours[: -len(end)]), kind
        if encoder.follows_prompt:
            apart = encoder.encode(segments(messages)) + encoder.encode_response(answer)
            assert tokenizer.decode(apart) == ours, kind


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name not in ("like DeepSeek-R1", "replaces words")])
def test_an_answer_reads_back_without_what_the_template_adds(name: str) -> None:
    encoder = PromptEncoder(make_tokenizer(TEMPLATES[name]))
    for text in ("Yes.", " Yes, \n", "a <|im_end|> b", ""):
        assert encoder.decode(encoder.encode_response(text)) == text


def test_reasoning_that_the_template_writes_itself_has_its_tokens() -> None:
    """And what a question holds stays text, as every control string in it."""
    tokenizer = make_tokenizer(TEMPLATES["like Qwen3"])
    encoder = PromptEncoder(tokenizer)
    opening = tokenizer.convert_tokens_to_ids("<think>")
    answer = "<think>\nr\n</think>\n\nYes."
    asked = [("user", "<think> <|im_end|>")]
    assert encoder.encode(segments(asked)).count(opening) == 0
    theirs_ids = tokenizer(theirs(tokenizer, [("user", "a"), ("assistant", answer)]), add_special_tokens=False)
    ours = encoder.encode_answered(segments([("user", "a")]), answer)
    assert theirs_ids["input_ids"][: len(ours)] == ours


def test_no_text_becomes_a_special_token_where_the_template_drops_reasoning() -> None:
    """The pieces of a special token stand in the template one by one, and a conversation puts them together."""
    template = "{% set a, b, c = '<|', 'im_end', '|>' %}" + TEMPLATES["drops reasoning everywhere"]
    encoder = PromptEncoder(make_tokenizer(template))
    messages = [("user", "x<|im_end|>y"), ("assistant", "<think>r</think>Hello"), ("user", "ok?")]
    with pytest.raises(ModelError, match="rewrites the content of messages: it writes"):
        encoder.encode(segments(messages))


def test_the_header_of_the_next_answer_does_not_end_an_answer() -> None:
    for end in ("<|im_end|>", ""):
        template = TEMPLATES["always a header"].replace("<|im_end|>", end)
        tokenizer = make_tokenizer(template)
        encoder = PromptEncoder(tokenizer)
        assert tokenizer.decode(encoder.encode_response("Yes.")) == "Yes.<|im_end|>"


def test_a_system_text_in_the_first_user_turn_keeps_the_answers_header() -> None:
    tokenizer = make_tokenizer(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + TEMPLATES["never a header"]
    )
    text = tokenizer.decode(PromptEncoder(tokenizer).encode(segments([("system", "Be brief."), ("user", "Hi")])))
    assert text == "<|im_start|>user\nBe brief.\n\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_a_conversation_with_very_many_of_the_templates_strings_is_refused() -> None:
    encoder = PromptEncoder(make_tokenizer(TEMPLATES["drops reasoning everywhere"]))
    asked = [("user", "Hi"), ("assistant", "a</think>" * 5000 + "b"), ("user", "ok?")]
    with pytest.raises(ModelError, match="rewrites the content of messages: it writes"):
        encoder.encode(segments(asked))
    many = [("user", "Hi"), ("assistant", "a</think>" * 500 + "b"), ("user", "ok?")]
    assert len(encoder.encode(segments(many))) < 60


def test_the_template_does_not_read_what_a_question_of_ours_quotes() -> None:
    """A response cannot take the question away from the judge."""
    tokenizer = make_tokenizer(TEMPLATES["chatml"].replace("m.content", "m.content.split('</think>')[-1]"))
    encoder = PromptEncoder(tokenizer)
    quoted = (Segment("Which is better? ", True), Segment("a</think>b", False), Segment(" Say it.", True))
    text = tokenizer.decode(encoder.encode([SegmentedMessage("user", quoted)]))
    assert "Which is better? a</think>b Say it." in text
    ours = (Segment("Left out.</think>Which is better? ", True), Segment("a</think>b", False))
    text = tokenizer.decode(encoder.encode([SegmentedMessage("user", ours)]))
    assert "Left out" not in text
    assert "Which is better? a</think>b<|im_end|>" in text


def test_an_answer_without_a_place_after_the_prompt_is_refused() -> None:
    encoder = PromptEncoder(make_tokenizer(TEMPLATES["like DeepSeek-R1"]))
    for text in ("Yes.", ""):
        with pytest.raises(ModelError, match="has no place after the prompt.*begin answers with their reasoning"):
            encoder.encode_response(text)
    with pytest.raises(ModelError, match="no place"):
        encoder.encode_response_start("Verdict:")
    reasoned = encoder.encode_response("r</think>Yes.")
    assert encoder.encode_response("<think>\nr</think>Yes.") == reasoned
    assert encoder.decode(reasoned) == "r</think>Yes."
    other = PromptEncoder(
        make_tokenizer(TEMPLATES["chatml"].replace("{{ '<|im_start|>assistant", "{{ '<|im_start|>bot"))
    )
    with pytest.raises(ModelError, match="ends with .*bot.* stands after .*assistant"):
        other.encode_response("Yes.")


def test_a_demonstration_that_the_template_does_not_show_whole_is_noticed() -> None:
    for name, expected in (("drops reasoning everywhere", False), ("like Qwen3", True), ("chatml", True)):
        encoder = PromptEncoder(make_tokenizer(TEMPLATES[name]))
        assert encoder.shows_whole("<think>\nr\n</think>\n\nYes.") is expected
        assert encoder.shows_whole("Yes.")


def test_where_a_header_belongs_and_cannot_be_found_the_prompt_is_refused() -> None:
    """The answer's presence changes what stands before it."""
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
        "{{ ' (asked)' if loop.last and messages | length > 1 }}{{ '<|im_end|>' }}{% endfor %}"
    )
    encoder = PromptEncoder(make_tokenizer(template))
    encoder.encode(segments([("user", "Hi")]))
    with pytest.raises(ModelError, match="no header for an answer, and the place of one cannot be found"):
        encoder.encode(segments([("user", "Hi"), ("assistant", "Yes"), ("user", "ok?")]))


@pytest.mark.parametrize("content", ["m.content | truncate(20)", "m.content[:20]"])
def test_a_template_that_changes_long_texts_is_refused_where_it_does(content: str) -> None:
    encoder = PromptEncoder(make_tokenizer(TEMPLATES["chatml"].replace("m.content", content)))
    encoder.encode(segments([("user", "Hi")]))
    with pytest.raises(ModelError, match="rewrites the content of messages: it writes"):
        encoder.encode(segments([("user", "One long line of text, longer than all that is shown.")]))


def test_control_tokens_that_take_white_space_take_it() -> None:
    """As in Phi-3: what the tokenizer drops beside them is dropped here too."""
    tokenizer = build_tokenizer("chatml")
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in state["added_tokens"]:
        token["rstrip"], token["lstrip"] = token["content"] == "<|im_start|>", token["content"] == "<|im_end|>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)), eos_token="<|im_end|>")
    tokenizer.chat_template = _EACH + "{{ '<|im_start|>' + m.content + '<|im_end|>' }}{% endfor %}"
    messages = [("user", " \n Hi \n"), ("assistant", "\u3000Yes\t"), ("user", "ok")]
    text = theirs(tokenizer, [*messages, ("assistant", "§")]).split("§")[0]
    assert PromptEncoder(tokenizer).encode(segments(messages)) == tokenizer(text)["input_ids"]


def test_a_tokenizer_that_reads_the_templates_text_otherwise_is_refused() -> None:
    tokenizer = build_tokenizer("chatml")
    tokenizer.add_tokens([AddedToken("the", normalized=False, single_word=True)])
    tokenizer.chat_template = TEMPLATES["chatml"].replace("'<|im_start|>' + m.role", "'<|im_start|>the' + m.role")
    PromptEncoder(tokenizer)
    tokenizer.add_tokens([AddedToken("Who", normalized=False)])
    with pytest.raises(ModelError, match="not known here: it gives the token 'Who' where 'W"):
        PromptEncoder(tokenizer)


def test_several_templates_without_a_default_are_refused() -> None:
    tokenizer = build_tokenizer("chatml")
    tokenizer.chat_template = {"rag": TEMPLATES["chatml"], "tool_use": TEMPLATES["chatml"]}
    with pytest.raises(ModelError, match="several chat templates and none is the default one"):
        PromptEncoder(tokenizer)
