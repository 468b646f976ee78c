"""The judge's training layout: a block behind a shared prefix is computed as if it stood there alone."""

from __future__ import annotations

import random

import torch

from rlaif.frontdesk.tiny_llama import make_model
from rlaif.frontdesk.tokenizer import build_tokenizer
from rlaif.frontdesk.train_judge import BLOCKS_PER_PAIR, chat_frame, collate, draw_example
from rlaif.frontdesk.two_part import two_part_logits
from rlaif.frontdesk.value_drills import draw_value_drill

TOKENIZER = build_tokenizer()


def test_a_block_behind_a_shared_prefix_has_the_logits_of_prefix_and_block_alone() -> None:
    model = make_model(TOKENIZER, seed=0).eval()
    rng = random.Random(0)
    frame = chat_frame(TOKENIZER)
    examples = [draw_example(rng, frame=frame, end=str(TOKENIZER.eos_token)) for _ in range(3)]
    batch = collate(examples, tokenizer=TOKENIZER)
    with torch.no_grad():
        prefix_logits, block_logits = two_part_logits(model, batch.tokens)
        for number, example in enumerate(examples):
            for place, parts in enumerate(example.blocks):
                # Encoded at once: the segments that training encodes one by one must give the same tokens.
                ids = TOKENIZER(example.prefix + "".join(parts), return_tensors="pt")["input_ids"]
                logits = model(input_ids=ids).logits[0]
                size = int(batch.tokens.prefix_lengths[number])
                block = block_logits[number * BLOCKS_PER_PAIR + place][: len(logits) - size]
                assert torch.allclose(prefix_logits[number, :size], logits[:size], atol=1e-4)
                assert torch.allclose(block, logits[size:], atol=1e-4)


def test_every_block_has_one_verdict_token_and_it_is_a_letter_or_a_score() -> None:
    rng = random.Random(1)
    examples = [draw_example(rng, frame=chat_frame(TOKENIZER), end=str(TOKENIZER.eos_token)) for _ in range(12)]
    batch = collate(examples, tokenizer=TOKENIZER)
    assert batch.is_verdict.sum(1).tolist() == [1] * (12 * BLOCKS_PER_PAIR)
    verdicts = set(TOKENIZER.convert_ids_to_tokens(batch.tokens.block[batch.is_verdict]))
    assert {"ĠA", "ĠB"} < verdicts <= {"ĠA", "ĠB", *(f"Ġ{score}" for score in range(1, 11))}


def test_a_value_drill_says_right_exactly_when_the_two_values_agree() -> None:
    rng = random.Random(3)
    outcomes = set()
    for _ in range(200):
        stated, word, noticed, so, outcome = draw_value_drill(rng).split()
        assert (word, so) == ("for", "so")
        assert (outcome == "right") == (stated == noticed)
        outcomes.add(outcome)
    assert outcomes == {"right", "wrong"}
