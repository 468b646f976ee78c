"""Tiny random models for the sweep: architectures of transformers, oddities of tokenizers, oddities of templates."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from rlaif.models.weights.reading import quiet_transformers

END, START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_OLD = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512}
_EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {}, "qwen2": {}, "qwen3": {"head_dim": 16}, "gemma": {"head_dim": 16}, "gemma2": {"head_dim": 16},
    "gemma3_text": {"head_dim": 16}, "mistral": {"head_dim": 16}, "mixtral": _EXPERTS, "phi": {}, "phi3": {},
    "gpt2": _OLD, "gpt_neox": {}, "gpt_neo": {"num_layers": 2, "num_heads": 2, "attention_types": [[["global"], 2]]},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32, "dropout": 0.0}, "bloom": {"n_layer": 2, "n_head": 2},
    "falcon": {"new_decoder_architecture": False}, "olmo": {}, "olmo2": {}, "stablelm": {}, "starcoder2": {},
    "cohere": {}, "granite": {}, "smollm3": {}, "glm": {"head_dim": 16}, "glm4": {"head_dim": 16}, "exaone4": {},
    "codegen": {**_OLD, "rotary_dim": 8, "num_attention_heads": 4}, "gptj": {**_OLD, "rotary_dim": 8}, "nemotron": {},
    "helium": {"head_dim": 16}, "persimmon": {}, "seed_oss": {"head_dim": 16}, "mamba": {"state_size": 4},
    "gpt_bigcode": _OLD,
}  # fmt: skip
_SHAPE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip

_EACH = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
_PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
_NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
_TURNS = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% endfor %}"
)
TEMPLATES: dict[str, str | None] = {
    "plain": _EACH + _PROMPT,
    "none": None,
    "no system role": _NO_SYSTEM + _EACH + _PROMPT,
    "turns must alternate": _TURNS + _EACH + _PROMPT,
    "no generation prompt": _EACH,
    "always a generation prompt": _EACH + "<|im_start|>assistant\n",
    "opens a thought": _EACH + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
    "a date": "{{ strftime_now('%d %B %Y') }}\n" + _EACH + _PROMPT,
    "tools": "{% if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}" + _EACH + _PROMPT,
    "named": _EACH + _PROMPT,
    "white space stripped": _EACH.replace("['content']", "['content'] | trim") + _PROMPT,
    "nested loops": "{% for i in range(9) %}{% for j in range(9) %}{% endfor %}{% endfor %}" + _EACH + _PROMPT,
    "no end": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}" + _EACH,
    "not Jinja": _EACH + "{% if %}",
    "rewrites": _EACH.replace("['content']", "['content'] | upper") + _PROMPT,
    "replaces words": _EACH.replace("['content']", "['content'].replace('museum', 'zoo')") + _PROMPT,
    "leaves users out": _EACH.replace("{{ m['content'] }}", "") + _PROMPT,
}

_SENTENCES = ["When does museum number 1 open?", "Prefer the reply that is polite.", "Verdict: A or Verdict: B"] * 3


class Tokens(NamedTuple):
    backend: Callable[[], Tokenizer]
    options: dict[str, Any] = {}
    rows_less: int = 0
    """How many rows the model's embeddings lack."""


def _bytes() -> Tokenizer:
    vocabulary = {byte: at for at, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary |= {"ĠA": 256, "ĠB": 257}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "A"), ("Ġ", "B")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([END, START, TURN_END])
    return made


def _more() -> Tokenizer:
    made = _bytes()
    made.add_special_tokens(["<|more_0|>", "<|more_1|>"])
    return made


def _unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    special = ["<unk>", END, START, TURN_END]
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False,
        initial_alphabet=[*map(chr, range(33, 127))],
    )  # fmt: skip
    made.train_from_iterator(_SENTENCES, trainer)
    return made


def _words() -> Tokenizer:
    made = Tokenizer(models.WordLevel(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["<unk>", END, START, TURN_END], show_progress=False)
    made.train_from_iterator([*_SENTENCES, "A B system user assistant : \n"], trainer)
    return made


TOKENIZERS: dict[str, Tokens] = {
    "plain": Tokens(_bytes, {"eos_token": TURN_END, "pad_token": END}),
    "pad is eos": Tokens(_bytes, {"eos_token": TURN_END, "pad_token": TURN_END}),
    "no pad": Tokens(_bytes, {"eos_token": TURN_END}),
    "nothing named": Tokens(_bytes),
    "pads left": Tokens(_bytes, {"eos_token": TURN_END, "pad_token": END, "padding_side": "left"}),
    "bos is eos": Tokens(_bytes, {"bos_token": END, "eos_token": END, "unk_token": END}),
    "tokens beyond the embeddings": Tokens(_more, {"eos_token": TURN_END}, rows_less=2),
    "unigram": Tokens(_unigram, {"eos_token": TURN_END, "unk_token": "<unk>", "pad_token": "<unk>"}),
    "words": Tokens(_words, {"eos_token": TURN_END, "unk_token": "<unk>"}),
    "several ends": Tokens(_bytes, {"eos_token": TURN_END, "pad_token": END}),
    "odd specials": Tokens(_bytes, {"eos_token": TURN_END, "additional_special_tokens": ["[a|b]*", "<é>"]}),
}


class Swept(NamedTuple):
    """One model of the sweep."""

    architecture: str
    tokens: str
    template: str


def draw_models() -> Iterator[Swept]:
    """Models such that every architecture, every tokenizer and every template occurs, most with plain others."""
    draw = random.Random(0)
    usual = [name for name in TEMPLATES if name in USUAL_TEMPLATES]
    kinds, usual_tokens = itertools.cycle(usual), itertools.cycle(USUAL_TOKENIZERS)
    for architecture in ARCHITECTURES:
        yield Swept(architecture, next(usual_tokens), next(kinds))
    for tokens in TOKENIZERS:
        yield Swept(draw.choice(["llama", "qwen2", "gpt2"]), tokens, "plain")
    for template in TEMPLATES:
        yield Swept(draw.choice(["llama", "qwen3", "olmo2"]), "plain", template)


USUAL_TEMPLATES = ("plain", "no system role", "a date", "tools", "named", "white space stripped", "nested loops")
USUAL_TOKENIZERS = ("plain", "pad is eos", "no pad", "pads left", "bos is eos", "several ends")


def make_model(swept: Swept, folder: Path) -> None:
    """Write the model's folder."""
    tokens = TOKENIZERS[swept.tokens]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens.backend(), **tokens.options)
    template = TEMPLATES[swept.template]
    config = AutoConfig.for_model(
        swept.architecture,
        **{
            **_SHAPE, **ARCHITECTURES[swept.architecture], "vocab_size": len(tokenizer) - tokens.rows_less,
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
    )  # fmt: skip
    with torch.random.fork_rng(), quiet_transformers():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        if swept.tokens == "several ends":
            model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids([END, TURN_END])
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    if swept.template == "named":
        path = folder / "tokenizer_config.json"
        named = [{"name": "default", "template": template}, {"name": "tool_use", "template": "x"}]
        path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": named}))
    elif template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
