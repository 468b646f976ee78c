"""A model folder or hub id -> its fingerprint, longest context and token counts, without loading its weights.

For who sends work to others that load it. The fingerprint is the one that `loading` gives the loaded model.
"""

from __future__ import annotations

from rlaif.models.ray.engine import Described
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.models.weights.context import NO_LIMIT, context_of_config
from rlaif.models.weights.loading import fingerprint, load_tokenizer
from rlaif.models.weights.model_folder import find_model_folder


def describe_causal_lm(path: str, *, revision: str | None, dtype: str) -> Described:
    from transformers import AutoConfig

    found = find_model_folder(path, revision=revision)
    tokenizer = load_tokenizer(found)
    encoder = PromptEncoder(tokenizer)
    config = AutoConfig.from_pretrained(str(found.folder), trust_remote_code=False, local_files_only=True)
    return Described(
        fingerprint=fingerprint(found, tokenizer=tokenizer, dtype=dtype),
        context_tokens=context_of_config(config) or NO_LIMIT,
        count_tokens=lambda chat: len(encoder.encode(chat)),
    )
