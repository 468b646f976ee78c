"""Six tiny random chat models, one for each common family of tokenizer and chat template.

The tokenizers are trained here on a few sentences and are built as their family's real ones; the templates are
the families' own without their parts about tools. Weights are random and the same on every call.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from rlaif.models.weights.reading import quiet_transformers

FAMILIES = ("byte_bpe_no_template", "chatml", "llama2", "llama3", "gemma", "mistral")
CHAT_FAMILIES = FAMILIES[1:]

SIMPLE_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
"""A template that a user might add to a model that has none."""

_SENTENCES = [
    "You are a helpful assistant who answers in one sentence.",
    "When does the museum open? The museum opens at nine and closes at five.",
    "Reply A is polite, reply B is curt. Verdict: A or Verdict: B?",
    "user: hello\nassistant: hi there, how can I help you today?\n\nsystem: none",
    "Prefer the reply that is brief and keeps private details private.",
    "Conversation:\nPrinciple:\nReply A:\nReply B:\n",
    "  two spaces, 1234 numbers, don't, café, and so on...",
] * 4

_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_TEMPLATES = {
    "chatml": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama2": (
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
        "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
        "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/...') }}{% endif %}"
        "{% if loop.index0 == 0 and system_message != false %}"
        "{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}"
        "{% else %}{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}"
        "{% endfor %}"
    ),
    "llama3": (
        "{% set loop_messages = messages %}{% for message in loop_messages %}"
        "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
        "+ message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/...') }}{% endif %}"
        "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
        "{% set role = message['role'] %}{% endif %}"
        "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
    ),
    "mistral": (
        "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
        "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}"
        "{{- bos_token }}{%- for message in loop_messages %}"
        "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{- raise_exception('After the optional system message, roles must alternate') }}{%- endif %}"
        "{%- if message['role'] == 'user' %}{%- if loop.last and system_message is defined %}"
        "{{- '[INST]' + system_message + '\n\n' + message['content'] + '[/INST]' }}{%- else %}"
        "{{- '[INST]' + message['content'] + '[/INST]' }}{%- endif %}"
        "{%- else %}{{- ' ' + message['content'] + eos_token}}{%- endif %}{%- endfor %}"
    ),
}


def _byte_level(specials: list[str], *, split: str | None = None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=split is not None))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), behavior="isolated"), byte_level])
        if split
        else byte_level
    )
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer, specials, alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def _metaspace(specials: list[str], *, prepends: bool) -> Tokenizer:
    """SentencePiece-like BPE with byte fallback: Llama-2 puts a space before the text, Gemma does not."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    replace = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if prepends else replace
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")  # words, while it learns merges
    _train(tokenizer, [*specials, *fallback], alphabet=["▁", *map(chr, range(33, 127))])
    tokenizer.pre_tokenizer = None
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prepends else steps)
    return _without_special(tokenizer, fallback)


def _train(tokenizer: Tokenizer, specials: list[str], *, alphabet: list[str]) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=specials,
        initial_alphabet=alphabet,
        show_progress=False,
        max_token_length=8,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)


def _without_special(tokenizer: Tokenizer, names: list[str]) -> Tokenizer:
    """The tokenizer with these tokens as plain entries of its vocabulary and not as added tokens."""
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] not in names]
    return Tokenizer.from_str(json.dumps(state))


def build_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The family's tokenizer, with its chat template where it has one."""
    make = {
        "byte_bpe_no_template": _gpt2,
        "chatml": _chatml,
        "llama2": _llama2,
        "llama3": _llama3,
        "gemma": _gemma,
        "mistral": _mistral,
    }[name]
    tokenizer = make()
    tokenizer.chat_template = _TEMPLATES.get(name)
    return tokenizer


def _gpt2() -> PreTrainedTokenizerFast:
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=_byte_level([end]), bos_token=end, eos_token=end, unk_token=end)


def _chatml() -> PreTrainedTokenizerFast:
    backend = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    backend.add_tokens(
        [AddedToken(t, normalized=False) for t in ("<tool_call>", "</tool_call>", "<think>", "</think>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )  # fmt: skip


def _llama2() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=_metaspace(["<unk>", "<s>", "</s>"], prepends=True),
        bos_token="<s>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip


def _llama3() -> PreTrainedTokenizerFast:
    specials = [
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
        "<|reserved_special_token_0|>",
    ]  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=_byte_level(specials, split=_LLAMA3_SPLIT),
        bos_token="<|begin_of_text|>", eos_token="<|eot_id|>",
    )  # fmt: skip


def _gemma() -> PreTrainedTokenizerFast:
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    backend = _metaspace(specials, prepends=False)
    backend.add_tokens([AddedToken(t, normalized=False) for t in ("\n\n", "▁▁", "<table>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def _mistral() -> PreTrainedTokenizerFast:
    specials = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "<pad>"]
    return PreTrainedTokenizerFast(
        tokenizer_object=_byte_level(specials, split=_LLAMA3_SPLIT),
        bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
    )  # fmt: skip


def _config(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    ids = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if name == "byte_bpe_no_template":
        return GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=512, **ids)
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
    }
    make = {"chatml": Qwen2Config, "gemma": GemmaConfig, "mistral": MistralConfig}.get(name, LlamaConfig)
    extra = {"head_dim": 8} if name in ("gemma", "mistral") else {}
    return make(**shape, **ids, **extra)


def build_family(name: str, folder: Path, *, chat_template: str | None = None) -> Path:
    """Write the family's tiny model into `folder`; `chat_template` is for the family that has none."""
    tokenizer = build_tokenizer(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(_config(name, tokenizer))
    if name == "llama3":
        model.generation_config.eos_token_id = [
            tokenizer.convert_tokens_to_ids("<|end_of_text|>"), tokenizer.eos_token_id
        ]  # fmt: skip
    with quiet_transformers():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if chat_template is not None:
        (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
    return folder
