"""Token ids of chats in six families: the template's own ids, and no control token out of any text."""

import time

import pytest
from families import FAMILIES, SIMPLE_TEMPLATE, build_family, build_tokenizer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from examples import examples
from rlaif.constitution.render import load_template, render
from rlaif.errors import ModelError
from rlaif.models.tokens.prompt_tokens import PromptEncoder, _encode_texts, _encodes_lines_apart, choice_token_ids
from rlaif.records import Segment, SegmentedMessage

CONTROL = {
    "byte_bpe_no_template": ["<|endoftext|>"],
    "chatml": ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>", "</think>", "<think>"],
    "llama2": ["<s>", "</s>"],
    "llama3": ["<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|begin_of_text|>"],
    "gemma": ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<table>"],
    "mistral": ["<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]"],
}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """Each family's tokenizer as it loads from its folder."""
    loaded = {}
    for name in FAMILIES:
        template = SIMPLE_TEMPLATE if name == "byte_bpe_no_template" else None
        folder = build_family(name, tmp_path_factory.mktemp(name), chat_template=template)
        loaded[name] = AutoTokenizer.from_pretrained(folder)
    return loaded


@pytest.fixture(scope="module")
def encoders(tokenizers):
    return {name: PromptEncoder(tokenizer) for name, tokenizer in tokenizers.items()}


def chat(*messages, trusted=False):
    return [SegmentedMessage(role, (Segment(text, trusted),)) for role, text in messages]


def template_ids(tokenizer, messages):
    return tokenizer.apply_chat_template(
        [{"role": role, "content": text} for role, text in messages],
        add_generation_prompt=True, return_dict=False,
    )  # fmt: skip


CONVERSATIONS = {
    "one turn": [("user", "When does the museum open?")],
    "a system text": [("system", "You are brief."), ("user", "Hello there, café!")],
    "three turns": [
        ("user", "Hello"),
        ("assistant", "Hi, how can I help?"),
        ("user", "Who's private?\n\nSay it."),
    ],
    "all roles": [("system", "S"), ("user", "one"), ("assistant", "two"), ("user", "three  four 1234")],
    "white space at the ends": [("user", "  \n Hello  \n")],
    "other scripts": [("user", "你好 мир 🙂 e\u0301")],
    "an empty message": [("user", "")],
}


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("trusted", [True, False])
def test_ordinary_chats_get_the_ids_of_apply_chat_template(name, messages, trusted, tokenizers, encoders):
    expected = messages
    if name == "gemma" and messages[0][0] == "system":
        expected = [("user", f"{messages[0][1]}\n\n{messages[1][1]}"), *messages[2:]]
    ids = encoders[name].encode(chat(*messages, trusted=trusted))
    assert ids == template_ids(tokenizers[name], expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_judge_prompt_of_segments_gets_the_ids_of_its_joined_text(name, tokenizers, encoders):
    rendered = render(
        load_template("pair"),
        conversation="user: When does it open?",
        first="At nine.",
        second="  It opens at nine; closes at five.",
        principle="Prefer the brief reply.",
    )
    system, user = (message.text for message in rendered)
    messages = [("user", f"{system}\n\n{user}")] if name == "gemma" else [("system", system), ("user", user)]
    assert encoders[name].encode(rendered) == template_ids(tokenizers[name], messages)


@pytest.mark.parametrize("name", FAMILIES)
def test_control_strings_in_text_give_no_control_token_and_read_back_exactly(name, tokenizers, encoders):
    control_ids = set(tokenizers[name].get_added_vocab().values()) - {tokenizers[name].unk_token_id}
    honest = encoders[name].encode(chat(("user", "x")))
    for control in CONTROL[name]:
        assert tokenizers[name].convert_tokens_to_ids(control) in tokenizers[name].get_added_vocab().values()
        for text in (control, f"a{control}b", f"{control} {control}\n", control * 3):
            response = encoders[name].encode_response(text)
            assert encoders[name].decode(response[:-1]) == text
            assert control_ids.isdisjoint(response[:-1])
            prompt = encoders[name].encode(chat(("user", f"x{text}x")))
            assert [i for i in prompt if i in control_ids] == [i for i in honest if i in control_ids]


@pytest.mark.parametrize("name", FAMILIES)
def test_no_control_token_forms_across_segments(name, tokenizers, encoders):
    control_ids = set(tokenizers[name].get_added_vocab().values())
    honest = [i for i in encoders[name].encode(chat(("user", "x"))) if i in control_ids]
    for control in CONTROL[name]:
        for at in range(1, len(control)):
            for trust in ((True, False), (False, True), (False, False)):
                parts = (Segment(control[:at], trust[0]), Segment(control[at:], trust[1]))
                ids = encoders[name].encode([SegmentedMessage("user", parts)])
                assert [i for i in ids if i in control_ids] == honest


def test_control_tokens_in_trusted_text_stay_control_tokens(tokenizers, encoders):
    text = "one<|im_end|>\n<|im_start|>user\ntwo"
    assert encoders["chatml"].encode(chat(("user", text), trusted=True)) == template_ids(
        tokenizers["chatml"], [("user", text)]
    )


@settings(max_examples=examples(60), deadline=None)
@given(text=st.text(max_size=30), name=st.sampled_from(FAMILIES))
def test_any_text_becomes_text(text, name, tokenizers, encoders):
    allowed = {tokenizers[name].unk_token_id, *tokenizers[name].convert_tokens_to_ids(["\n\n", "▁▁"])}
    control_ids = set(tokenizers[name].get_added_vocab().values()) - allowed
    assert control_ids.isdisjoint(encoders[name].encode_response(text)[:-1])


@settings(max_examples=examples(60), deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
@example(text=" ")
@example(text="  two")
@pytest.mark.parametrize("name", ["byte_bpe_no_template", "llama3", "mistral", "gemma"])
def test_any_response_reads_back_exactly(name, text, encoders):
    if name == "mistral":
        text = text.removeprefix(" ")
    elif name == "gemma":
        text = text.replace("▁", " ").replace("\u2581", " ")
    assert encoders[name].decode(encoders[name].encode_response(text)) == text


@pytest.mark.parametrize("name", FAMILIES)
def test_a_response_is_what_the_template_shows_after_the_generation_prompt(name, tokenizers, encoders):
    prompt = template_ids(tokenizers[name], [("user", "Hello")])
    whole = tokenizers[name].apply_chat_template(
        [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi, you"}], return_dict=False
    )
    response = encoders[name].encode_response("Hi, you")
    # Llama-2's template puts a space before </s>, others a line break behind their end token.
    start = (prompt + response)[:-1]
    assert whole[: len(start)] == start
    assert response[-1] in whole[len(start) :]


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("byte_bpe_no_template", "<|endoftext|>"),
        ("chatml", "<|im_end|>"),
        ("llama2", "</s>"),
        ("llama3", "<|eot_id|>"),
        ("gemma", "<end_of_turn>"),
        ("mistral", "</s>"),
    ],
)
def test_a_response_ends_with_the_turns_end_token(name, end, tokenizers, encoders):
    end_id = tokenizers[name].convert_tokens_to_ids(end)
    assert encoders[name].encode_response("hi")[-1] == end_id
    assert end_id in encoders[name].stop_token_ids
    assert tokenizers[name].eos_token_id in encoders[name].stop_token_ids
    assert encoders[name].decode(encoders[name].encode_response("hi")) == "hi"


def test_stop_tokens_of_the_generation_config_are_added(tokenizers):
    encoder = PromptEncoder(tokenizers["llama3"], stop_token_ids=[1, 4])
    assert set(encoder.stop_token_ids) == {1, 4}


@pytest.mark.parametrize(
    ("name", "pad"),
    [
        ("byte_bpe_no_template", "<|endoftext|>"),
        ("chatml", "<|endoftext|>"),
        ("llama2", "<unk>"),
        ("llama3", "<|reserved_special_token_0|>"),
        ("gemma", "<pad>"),
        ("mistral", "<pad>"),
    ],
)
def test_padding_is_not_the_end_token_where_another_token_can_be_had(name, pad, tokenizers, encoders):
    assert encoders[name].pad_token_id == tokenizers[name].convert_tokens_to_ids(pad)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_pieces_of_a_reply_join_to_its_text(name, encoders):
    ids = encoders[name].encode_trusted(" reason, here.\nVerdict: A")
    assert "".join(map(encoders[name].piece, ids)) == " reason, here.\nVerdict: A"


@pytest.mark.parametrize("name", FAMILIES)
def test_verdicts_are_one_token_each_after_the_marker(name, tokenizers, encoders):
    ids = choice_token_ids(encoders[name], "\nVerdict:", (" A", " B"))
    tokens = tokenizers[name].convert_ids_to_tokens(ids)
    assert [token[-1] for token in tokens] == ["A", "B"]
    assert all(len(token) == 2 for token in tokens)


def test_a_verdict_of_several_tokens_is_refused(encoders):
    with pytest.raises(ModelError, match='the verdict " Zebra" is not one token'):
        choice_token_ids(encoders["llama3"], "Verdict:", (" A", " Zebra"))


def test_a_verdict_that_melts_into_the_marker_is_refused(encoders):
    with pytest.raises(ModelError, match='after "Verdict: " the verdict "A" is not one token'):
        choice_token_ids(encoders["llama3"], "Verdict: ", ("A", "B"))


def test_a_verdict_that_the_vocabulary_lacks_is_refused():
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "<end>": 1, "A": 2, "Verdict": 3}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<end>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}<end>{% endfor %}"
    assert choice_token_ids(PromptEncoder(tokenizer), "Verdict", (" A",)) == (2,)
    with pytest.raises(ModelError, match='the verdict " B" is not one token'):
        choice_token_ids(PromptEncoder(tokenizer), "Verdict", (" A", " B"))


def test_a_text_put_before_the_answer_goes_on_as_the_answer_would(encoders):
    for encoder in encoders.values():
        start, answer = encoder.encode_response_start("Verdict:"), encoder.encode_response("Verdict: A")
        assert answer[: len(start)] == start


def test_a_batch_is_the_same_as_one_by_one(encoders):
    chats = [chat(*messages) for messages in CONVERSATIONS.values()]
    for encoder in encoders.values():
        assert encoder.encode_batch(chats) == [encoder.encode(c) for c in chats]


def test_a_lone_surrogate_becomes_a_replacement_character(encoders):
    encoder = encoders["llama3"]
    assert encoder.encode_response("a\ud800b") == encoder.encode_response("a\ufffdb")


def test_a_tokenizer_without_chat_template_is_an_error_with_a_fix():
    with pytest.raises(ModelError, match="no chat template.*chat_template.jinja"):
        PromptEncoder(build_tokenizer("byte_bpe_no_template"))


def test_roles_that_the_template_refuses_are_named(encoders):
    with pytest.raises(ModelError, match="refuses a conversation of user, user: .*alternate"):
        encoders["gemma"].encode(chat(("user", "a"), ("user", "b")))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("message['content'] | upper", "rewrites the content"),
        ("message['content'] | e", "rewrites the content"),
        ("message['content'] | tojson", "rewrites the content"),
        ("message['content'] if message['role'] == 'user' else ''", "leaves out message 2"),
    ],
)
def test_a_template_that_changes_contents_is_refused(content, words):
    tokenizer = build_tokenizer("chatml")
    tokenizer.chat_template = "{% for message in messages %}{{ " + content + " }}<|im_end|>{% endfor %}"
    with pytest.raises(ModelError, match=words):
        PromptEncoder(tokenizer)


def test_a_template_that_strips_line_breaks_only_is_followed():
    tokenizer = build_tokenizer("chatml")
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['content'].strip('\n') }}<|im_end|>{% endfor %}"
    )
    messages = [("user", "\n\n two \n")]
    header = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert PromptEncoder(tokenizer).encode(chat(*messages)) == [*template_ids(tokenizer, messages), header]


def test_a_template_that_adds_an_empty_thought_to_the_last_answer_is_followed_in_prompts():
    tokenizer = build_tokenizer("chatml")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}"
        "{{ '<think>\n\n</think>\n\n' + m.content.lstrip('\n') }}{% else %}{{ m.content }}{% endif %}"
        "<|im_end|>{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    encoder = PromptEncoder(tokenizer)
    messages = [("user", "a"), ("assistant", "\nb"), ("user", "c")]
    assert encoder.encode(chat(*messages)) == template_ids(tokenizer, messages)
    assert encoder.decode(encoder.encode_response("hi")) == "hi"


def test_the_date_in_a_template_is_the_same_on_every_day():
    tokenizer = build_tokenizer("chatml")
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }} " + tokenizer.chat_template
    assert (
        PromptEncoder(tokenizer).decode(PromptEncoder(tokenizer).encode(chat(("user", "x")))).startswith("26 Jul 2024")
    )


def test_control_words_of_a_whole_word_vocabulary_are_out_of_reach():
    words = ["<unk>", "<end>", "hello", "say", "<|user|>"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", eos_token="<end>", additional_special_tokens=["<|user|>"]
    )
    tokenizer.chat_template = "{% for m in messages %}<|user|>{{ m['content'] }}<end>{% endfor %}"
    ids = PromptEncoder(tokenizer).encode(chat(("user", "say <end> hello <|user|>")))
    assert ids == [4, 3, 0, 2, 0, 1, 4]


def test_control_pieces_of_a_unigram_vocabulary_are_out_of_reach():
    pieces = [
        ("<unk>", 0.0),
        ("<end>", 0.0),
        ("▁", -2.0),
        *((c, -3.0) for c in "<end>hilo"[:4]),
        (">", -3.0),
        ("hi", -1.0),
    ]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    backend.add_special_tokens([AddedToken("<unk>"), AddedToken("<end>")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<end>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}<end>{% endfor %}"
    encoder = PromptEncoder(tokenizer)
    assert encoder.encode(chat(("user", "hi <end>"))).count(1) == 1
    assert encoder.encode(chat(("user", "hi hi"))) == template_ids(tokenizer, [("user", "hi hi")])


def test_a_judge_prompt_is_encoded_in_well_under_a_millisecond(encoders):
    text = " ".join(["museum", "opens", "polite", "reply", "hello", "there"] * 8)
    template = load_template("frontdesk_pair")
    prompts = [
        render(template, conversation=text, first=f"{n} {text[:80]}", second=text[:90], principle="Be brief.")
        for n in range(200)
    ]  # fmt: skip
    encoders["chatml"].encode_batch(prompts[:2])
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        encoders["chatml"].encode_batch(prompts)
        best = min(best, (time.perf_counter() - started) / len(prompts))
    assert best < 1e-3, best


@pytest.mark.parametrize("name", FAMILIES)
@given(text=st.lists(st.sampled_from([*"aZ9 .,!'\n\r\t\u00a0é", "\n\n", "Reply"]), max_size=40).map("".join))
@settings(max_examples=examples(60))
def test_text_of_many_lines_gets_the_ids_that_it_has_in_one_piece(name, text, encoders):
    for tokenizer in encoders[name]._bare[:2]:
        whole = tokenizer.encode(text, add_special_tokens=False).ids
        assert _encode_texts(tokenizer, [text, "Reply\nReply"])[0] == whole


def test_a_line_that_many_texts_share_is_encoded_once_where_the_tokenizer_allows_it(encoders):
    apart = [name for name in FAMILIES if _encodes_lines_apart(encoders[name]._bare.continuing)]
    assert apart == ["byte_bpe_no_template"]
