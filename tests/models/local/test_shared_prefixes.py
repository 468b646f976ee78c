"""What is computed once for many prompts is what each prompt would get alone, on every kind of model."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from families import FAMILIES, SIMPLE_TEMPLATE, build_family
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

import rlaif.models.local.decode as decode_module
from rlaif.models.interface import ScoreRequest
from rlaif.models.local.decode import Decoded, decode, row_uniforms
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.local.prefix_tree import build_tree
from rlaif.models.local.share_check import attention_window, can_share
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.records import SamplingParams, Segment, SegmentedMessage

STOP, PAD = 3, 0
SMALL = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip


def judge_like_prompts(*, vocab: int = 40, longest_own: int = 5) -> list[list[int]]:
    """Two conversations, three pairs each in both orders, four principles: 48 prompts and one that stands alone."""
    rng = random.Random(4)

    def text(size: int) -> list[int]:
        return [rng.randrange(4, vocab) for _ in range(size)]

    prompts = []
    head, principles = text(7), [text(rng.randint(1, longest_own)) for _ in range(4)]
    for _ in range(2):
        conversation, replies = text(rng.randint(9, 14)), [text(rng.randint(3, 9)) for _ in range(3)]
        for first, second in itertools.permutations(replies, 2):
            prompts += [[*head, *conversation, *first, 1, *second, 2, *principle] for principle in principles]
    return [*prompts, text(11)]


def sharpen(model: PreTrainedModel) -> PreTrainedModel:
    for parameter in model.parameters():
        parameter.data *= 4  # away from the uniform distribution that an untrained model has
    return model.eval()


def plain_logprobs(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    """(len(ids), vocab) by one plain forward pass over one unpadded sequence, without a cache."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
    return torch.log_softmax(logits.float(), dim=-1)


def check_against_plain(model: PreTrainedModel, prompts: Sequence[Sequence[int]], decoded: Decoded) -> None:
    for prompt, ids, logprobs in zip(prompts, decoded.token_ids, decoded.logprobs, strict=True):
        full = plain_logprobs(model, [*prompt, *ids])
        expected = [float(full[len(prompt) - 1 + t, token]) for t, token in enumerate(ids)]
        assert logprobs == pytest.approx(expected, abs=2e-4)


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    template = SIMPLE_TEMPLATE if request.param == "byte_bpe_no_template" else None
    folder: Path = build_family(request.param, tmp_path_factory.mktemp(request.param), chat_template=template)
    found = load_causal_lm(str(folder), device="cpu")
    sharpen(found.model)
    return found


def judge_chat(conversation: str, first: str, second: str, principle: str) -> list[SegmentedMessage]:
    parts = [("Conversation:\n", True), (conversation, False), ("\nReply A:\n", True), (first, False)]
    parts += [("\nReply B:\n", True), (second, False), ("\nPrinciple:\n", True), (principle, True)]
    return [SegmentedMessage("user", tuple(Segment(text, trusted) for text, trusted in parts))]


def judge_chats() -> list[list[SegmentedMessage]]:
    replies = ["The museum opens at nine.", "I do not know.", "Who knows? It opens at nine and closes at five."]
    principles = [
        "Prefer the reply that is brief.",
        "Prefer the reply that is polite.",
        "Keep private details private.",
    ]
    return [
        judge_chat(conversation, first, second, principle)
        for conversation in ("When does the museum open?", "Hello there, who are you and when does it close?")
        for first, second in itertools.permutations(replies, 2)
        for principle in principles
    ]


def test_every_family_shares_prefixes(loaded: LoadedModel) -> None:
    assert can_share(loaded.model, longest=200, pad_id=loaded.encoder.pad_token_id)
    prompts = loaded.encoder.encode_batch(judge_chats())
    num_run = sum(len(stretch.tokens) for stretch in build_tree(prompts).stretches)
    assert num_run < 0.5 * sum(map(len, prompts))


def test_a_batch_of_questions_is_answered_as_each_question_alone(loaded: LoadedModel) -> None:
    engine, chats = TransformersEngine(loaded), judge_chats()
    for reason_tokens in (0, 6):
        request = ScoreRequest("Verdict:", (" A", " B"), reason_tokens)
        together = engine.score(chats, request=request)
        alone = [engine.score([chat], request=request)[0] for chat in chats]
        assert [reply.raw_reply for reply in together] == [reply.raw_reply for reply in alone]
        assert [reply.failure for reply in together] == [reply.failure for reply in alone]
        for one, other in zip(together, alone, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=2e-4)


def test_samples_of_one_prompt_beside_others_are_those_drawn_alone(loaded: LoadedModel) -> None:
    engine = TransformersEngine(loaded)
    chats = [chat for chat in judge_chats()[::7] for _ in range(3)]
    keys = [(1, row) for row in range(len(chats))]
    params = SamplingParams(temperature=1.0, top_p=1.0, max_new_tokens=7)
    together = engine.generate(chats, params=params, keys=keys)
    alone = [engine.generate([chat], params=params, keys=[key])[0] for chat, key in zip(chats, keys, strict=True)]
    assert [one.token_ids for one in together] == [one.token_ids for one in alone]
    assert len({one.token_ids for one in together[:3]}) > 1


def test_shared_rows_draw_from_the_models_own_distribution_while_others_leave_the_batch() -> None:
    torch.manual_seed(0)
    model = sharpen(MistralForCausalLM(MistralConfig(**SMALL, sliding_window=None)))
    prompts = judge_like_prompts()
    assert can_share(model, longest=80, pad_id=PAD)
    keys = [(9, row) for row in range(len(prompts))]
    stops = list(range(12))  # rows leave their packs at every step
    decoded = decode(
        model, prompts, max_new_tokens=12, uniforms=row_uniforms(keys, 12), stop_ids=stops, pad_id=PAD
    )  # fmt: skip
    check_against_plain(model, prompts, decoded)
    assert len({len(ids) for ids in decoded.token_ids}) > 4


def test_the_choices_after_shared_prompts_are_those_of_plain_passes() -> None:
    torch.manual_seed(1)
    model = sharpen(MistralForCausalLM(MistralConfig(**SMALL, sliding_window=None)))
    prompts = judge_like_prompts(longest_own=20)
    decoded = decode(model, prompts, max_new_tokens=0, uniforms=None, stop_ids=[STOP], pad_id=PAD, choice_ids=[4, 5, 6])
    expected = torch.stack([plain_logprobs(model, prompt)[-1, [4, 5, 6]] for prompt in prompts])
    torch.testing.assert_close(decoded.choice_logprobs, expected, atol=2e-4, rtol=0)


def test_shared_and_unshared_decoding_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    model = sharpen(MistralForCausalLM(MistralConfig(**SMALL, sliding_window=None)))
    prompts = judge_like_prompts()
    options = {"max_new_tokens": 9, "uniforms": None, "stop_ids": [STOP, 4, 5, 6, 7], "pad_id": PAD, "choice_ids": [8]}
    options |= {"marker": "<9>", "piece": lambda token: f"<{token}>"}
    shared = decode(model, prompts, **options)  # type: ignore[arg-type]
    monkeypatch.setattr(decode_module, "can_share", lambda *args, **kwargs: False)
    unshared = decode(model, prompts, **options)  # type: ignore[arg-type]
    assert shared.token_ids == unshared.token_ids
    assert (shared.finished, shared.marked) == (unshared.finished, unshared.marked)
    torch.testing.assert_close(shared.choice_logprobs, unshared.choice_logprobs, atol=2e-4, rtol=0, equal_nan=True)


def sliding_models() -> dict[str, PreTrainedModel]:
    """Every layer, every second layer, and layers with a window by the model's own, older means."""
    torch.manual_seed(3)
    return {
        "mistral": MistralForCausalLM(MistralConfig(**SMALL, sliding_window=16)),
        "gemma2": Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8, sliding_window=16)),
        "gpt_neo": GPTNeoForCausalLM(
            GPTNeoConfig(
                vocab_size=40, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]],
                window_size=16, max_position_embeddings=256,
            )
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["mistral", "gemma2", "gpt_neo"])
def test_a_sliding_window_shorter_than_the_prompts_keeps_its_meaning(name: str) -> None:
    model = sliding_models()[name]
    if name != "gemma2":  # its logits are capped, and sharp ones would all lie at the cap
        sharpen(model)
    model.eval()
    assert attention_window(model) == 16
    prompts = judge_like_prompts()
    assert min(map(len, prompts)) < 16 < max(map(len, prompts))
    uniforms = row_uniforms([(row,) for row in range(len(prompts))], 10)
    decoded = decode(model, prompts, max_new_tokens=10, uniforms=uniforms, stop_ids=[STOP], pad_id=PAD)
    check_against_plain(model, prompts, decoded)


@pytest.mark.parametrize("name", ["mistral", "gemma2"])
def test_prompts_are_shared_where_the_whole_sequence_lies_within_the_window(name: str) -> None:
    model = sliding_models()[name].eval()
    assert can_share(model, longest=16, pad_id=PAD)
    assert not can_share(model, longest=17, pad_id=PAD)


def test_a_model_whose_window_counts_places_in_the_cache_is_found_out_by_trying_it() -> None:
    assert not can_share(sliding_models()["gpt_neo"].eval(), longest=16, pad_id=PAD)


def test_a_model_that_gives_other_logits_for_a_tree_runs_its_prompts_one_by_one() -> None:
    torch.manual_seed(4)
    model = sharpen(MistralForCausalLM(MistralConfig(**SMALL, sliding_window=None)))
    inner = model.forward

    def without_masks(*args: object, **kwargs: object) -> object:
        if isinstance(kwargs.get("attention_mask"), torch.Tensor) and kwargs["attention_mask"].ndim == 4:
            kwargs["attention_mask"] = None
        return inner(*args, **kwargs)

    model.forward = without_masks
    assert not can_share(model, longest=60, pad_id=PAD)
    prompts = judge_like_prompts()
    decoded = decode(model, prompts, max_new_tokens=5, uniforms=None, stop_ids=[STOP], pad_id=PAD)
    check_against_plain(model, prompts, decoded)


def test_eager_attention_takes_the_same_masks() -> None:
    torch.manual_seed(5)
    model = sharpen(
        MistralForCausalLM._from_config(MistralConfig(**SMALL, sliding_window=None), attn_implementation="eager")
    )
    assert can_share(model, longest=80, pad_id=PAD)
    prompts = judge_like_prompts()
    decoded = decode(model, prompts, max_new_tokens=6, uniforms=None, stop_ids=[STOP], pad_id=PAD)
    check_against_plain(model, prompts, decoded)


def test_half_precision_shared_is_as_near_to_full_precision_as_unshared(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(6)
    full = sharpen(MistralForCausalLM(MistralConfig(**SMALL, sliding_window=None)))
    half = MistralForCausalLM(full.config).eval()
    half.load_state_dict(full.state_dict())
    half.to(torch.bfloat16)
    assert can_share(half, longest=80, pad_id=PAD)
    prompts = judge_like_prompts()
    options = {"max_new_tokens": 0, "uniforms": None, "stop_ids": [STOP], "pad_id": PAD, "choice_ids": list(range(40))}
    shared, exact = (decode(model, prompts, **options).choice_logprobs for model in (half, full))  # type: ignore[arg-type]
    monkeypatch.setattr(decode_module, "can_share", lambda *args, **kwargs: False)
    unshared = decode(half, prompts, **options).choice_logprobs  # type: ignore[arg-type]
    assert 0 < float((shared - exact).abs().mean()) < 1.2 * float((unshared - exact).abs().mean())
