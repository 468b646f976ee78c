"""Judgements per second of the local engine against transformers' `generate`: python benchmarks/judging_local.py

Per prompt 6 pairs x 8 principles x both orders, asked of the front desk's judge: with its own reasons, and the
verdict positions alone after given reasons. The plain way takes the full prompts, sorted by length and padded on the
left, at the best of some batch sizes. Rounds are interleaved; figures are process time, wall time beside them. Both
sides begin with texts and end with the log-probabilities of the verdicts.
Writes benchmarks/results/judging_local.json. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import transformers

from rlaif.config.generate import JudgeConfig
from rlaif.constitution.render import JudgeTemplate, load_template, render, render_conversation
from rlaif.files.batch_plan import cut_into_batches
from rlaif.frontdesk import JUDGE_DIR, truth
from rlaif.frontdesk.judge_text import PAIR_TEMPLATE
from rlaif.frontdesk.replies import draw_reply
from rlaif.frontdesk.wordings import wordings
from rlaif.frontdesk.world import draw_scene
from rlaif.judging.questions import score_request
from rlaif.models.interface import Chat
from rlaif.models.local.decode import decode
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.tokens.prompt_tokens import choice_token_ids
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.records import Prompt

RESULTS = Path(__file__).parent / "results" / "judging_local.json"
WITH_REASONS, AFTER_REASONS = 2.0, 4.0
SURE = 1e-3
"""Verdicts must be equal where the debiased logit exceeds this."""


class Question(NamedTuple):
    chat: Chat
    group: int
    """Number of the prompt."""


class Way(NamedTuple):
    """One way to judge, at one batch size: texts in, a logit of A against B per question out."""

    name: str
    batch: int
    judge: Callable[[], list[float]]


def make_questions(num_prompts: int, *, template: JudgeTemplate, seed: int) -> list[Question]:
    """Both orders of a pair stand side by side."""
    rng = random.Random(seed)
    known = wordings(held_out=False)
    principles = [rng.choice([w for w in known if w.attribute == attribute]).text for attribute in truth.ATTRIBUTES]
    questions = []
    for group in range(num_prompts):
        scene = draw_scene(rng, held_out=True)
        replies: list[str] = []
        while len(replies) < 4:
            replies = list(dict.fromkeys([*replies, draw_reply(scene, rng=rng)]))
        conversation = render_conversation(Prompt.from_chat(scene.messages()).messages)
        for pair, principle in itertools.product(itertools.combinations(replies, 2), principles):
            for first, second in (pair, pair[::-1]):
                chat = render(template, conversation=conversation, first=first, second=second, principle=principle)
                questions.append(Question(chat, group))
    return questions


def plan(
    questions: Sequence[Question], *, engine: TransformersEngine, reply_tokens: int, batch_tokens: int
) -> list[list[int]]:
    """Batches as the judging stage cuts them: prompt by prompt, the short ones first."""
    groups: dict[int, list[int]] = {}
    for place, question in enumerate(questions):
        groups.setdefault(question.group, []).append(place)
    sizes = [engine.count_tokens(question.chat) + reply_tokens for question in questions]
    ordered = sorted(groups.values(), key=lambda group: max(sizes[place] for place in group))
    return cut_into_batches(ordered, size=lambda place: sizes[place], budget=batch_tokens)


class Plain:
    """transformers as its documentation shows it: full prompts, padded on the left, `generate`."""

    def __init__(self, loaded: LoadedModel, questions: Sequence[Question], *, choices: tuple[int, ...]) -> None:
        self._model, self._tokenizer, self._choices = loaded.model, loaded.tokenizer, choices
        self._tokenizer.padding_side = "left"
        self._chats = [
            [{"role": message.role, "content": message.text} for message in question.chat] for question in questions
        ]

    def with_reasons(self, *, batch: int, marker: str, max_new_tokens: int) -> list[float]:
        ends = tuple(self._tokenizer.encode(marker, add_special_tokens=False))
        logits: dict[int, float] = {}
        for rows in self._batches([sum(len(m["content"]) for m in chat) for chat in self._chats], batch):
            inputs = self._tokenizer.apply_chat_template(
                [self._chats[row] for row in rows], add_generation_prompt=True, padding=True,
                return_tensors="pt", return_dict=True,
            )  # fmt: skip
            out = self._model.generate(
                **inputs, max_new_tokens=max_new_tokens, do_sample=False, output_logits=True,
                return_dict_in_generate=True,
            )  # fmt: skip
            written = out.sequences[:, inputs["input_ids"].shape[1] :]
            for place, row in enumerate(rows):
                ids = tuple(written[place].tolist())
                at = next((t for t in range(len(ids)) if ids[t - len(ends) : t] == ends), None)
                logits[row] = self._logit(out.logits[at][place]) if at is not None else math.nan
        return [logits[row] for row in range(len(self._chats))]

    def after_reasons(self, replies: Sequence[str], *, batch: int) -> list[float]:
        texts = [
            self._tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) + reply
            for chat, reply in zip(self._chats, replies, strict=True)
        ]
        logits: dict[int, float] = {}
        for rows in self._batches([len(text) for text in texts], batch):
            inputs = self._tokenizer(
                [texts[row] for row in rows], add_special_tokens=False, padding=True, return_tensors="pt"
            )
            out = self._model.generate(
                **inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
            for place, row in enumerate(rows):
                logits[row] = self._logit(out.logits[0][place])
        return [logits[row] for row in range(len(texts))]

    def _batches(self, sizes: Sequence[int], batch: int) -> list[list[int]]:
        order = sorted(range(len(sizes)), key=lambda row: sizes[row])
        return [order[at : at + batch] for at in range(0, len(order), batch)]

    def _logit(self, logits: torch.Tensor) -> float:
        first, second = torch.log_softmax(logits.float(), dim=-1)[list(self._choices)].tolist()
        return float(first - second)


def debias(logits: Sequence[float]) -> list[float]:
    """Half the difference of the two orders, which stand side by side."""
    return [(first - second) / 2 for first, second in zip(logits[::2], logits[1::2], strict=True)]


def compare(ours: Sequence[float], plain: Sequence[float]) -> dict[str, float]:
    pairs = list(zip(debias(ours), debias(plain), strict=True))
    sure = [(a, b) for a, b in pairs if not abs(b) <= SURE]
    return {
        "pairs": len(pairs),
        "pairs_above_1e-3": len(sure),
        "verdicts_that_differ": sum((a > 0) != (b > 0) or math.isnan(a) or math.isnan(b) for a, b in sure),
        "largest_logit_difference": max(abs(a - b) for a, b in zip(ours, plain, strict=True)),
    }


def matrix_flops(*, rows: int = 2048, width: int = 1024, repeats: int = 8) -> float:
    """Floating-point operations per second of process time, of a large float32 matrix product."""
    a, b = torch.randn(rows, width), torch.randn(width, width)
    a @ b
    started = time.process_time()
    for _ in range(repeats):
        a @ b
    return 2 * rows * width**2 * repeats / (time.process_time() - started)


def tokens_when_shared(prompts: Sequence[Sequence[int]]) -> int:
    """Different tokens of the prompts: those that stand after different beginnings."""
    total, before = 0, ()
    for prompt in sorted(map(tuple, prompts)):
        same = next((at for at, (a, b) in enumerate(zip(prompt, before, strict=False)) if a != b), None)
        total += len(prompt) - (min(len(prompt), len(before)) if same is None else same)
        before = prompt
    return total


def measure(ways: Sequence[Way], *, rounds: int, num: int) -> list[dict[str, object]]:
    """Every way in every round, one after the other; judgements per second of process time and of wall time."""
    seconds: list[list[tuple[float, float]]] = [[] for _ in ways]
    for number in range(rounds):
        for way, times in zip(ways, seconds, strict=True):
            cpu, wall = time.process_time(), time.perf_counter()
            way.judge()
            times.append((time.process_time() - cpu, time.perf_counter() - wall))
            print(f"round {number}: {way.name}, batch {way.batch}: {num / times[-1][0]:.0f}/s", file=sys.stderr)
    return [
        {
            "way": way.name,
            "batch": way.batch,
            "per_second": round(num / statistics.median(cpu for cpu, _ in times), 1),
            "per_second_by_round": [round(num / cpu, 1) for cpu, _ in times],
            "per_second_wall": round(num / statistics.median(wall for _, wall in times), 1),
        }
        for way, times in zip(ways, seconds, strict=True)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="*", default=[16, 32, 64], help="of the plain way, with reasons")
    parser.add_argument("--verdict-batches", type=int, nargs="*", default=[8, 16, 32], help="after given reasons")
    parser.add_argument("--batch-tokens", type=int, default=JudgeConfig().batch_tokens, help="of the engine")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    template = load_template(PAIR_TEMPLATE)
    request = score_request(template)
    questions = make_questions(options.prompts, template=template, seed=options.seed)
    loaded = load_causal_lm(str(JUDGE_DIR), device="cpu")
    engine, encoder = TransformersEngine(loaded), loaded.encoder
    choices = choice_token_ids(encoder, request.marker, request.choices)
    plain = Plain(loaded, questions, choices=choices)
    reply_tokens = request.max_reason_tokens + 1
    batches = plan(questions, engine=engine, reply_tokens=reply_tokens, batch_tokens=options.batch_tokens)
    widest = max(map(len, batches))

    replies: dict[int, str] = {}

    def ours_with_reasons() -> list[float]:
        logits = {}
        for batch in batches:
            answers = engine.score([questions[place].chat for place in batch], request=request)
            for place, reply in zip(batch, answers, strict=True):
                replies[place] = reply.raw_reply
                logits[place] = reply.logprobs[0] - reply.logprobs[1]
        return [logits[place] for place in range(len(questions))]

    def ours_after_reasons() -> list[float]:
        logits = {}
        for batch in batches:
            prompts = encoder.encode_batch([questions[place].chat for place in batch])
            given = encoder.encode_responses([replies[place] for place in batch])
            decoded = decode(
                loaded.model, [prompt + reply[:-1] for prompt, reply in zip(prompts, given, strict=True)],
                max_new_tokens=0, uniforms=None, stop_ids=encoder.stop_token_ids, pad_id=encoder.pad_token_id,
                choice_ids=choices,
            )  # fmt: skip
            read = decoded.choice_logprobs
            logits |= dict(zip(batch, (read[:, 0] - read[:, 1]).tolist(), strict=True))
        return [logits[place] for place in range(len(questions))]

    ours = ours_with_reasons()  # the reasons, and a warm-up
    given = [replies[place] for place in range(len(questions))]
    longest = request.max_reason_tokens

    def plain_reasons(batch: int) -> Callable[[], list[float]]:
        return lambda: plain.with_reasons(batch=batch, marker=request.marker, max_new_tokens=longest)

    def plain_verdicts(batch: int) -> Callable[[], list[float]]:
        return lambda: plain.after_reasons(given, batch=batch)

    parts = {
        "with_reasons": (
            [Way("engine", widest, ours_with_reasons)]
            + [Way("generate", batch, plain_reasons(batch)) for batch in options.batches],
            WITH_REASONS,
            compare(ours, plain_reasons(32)()),
        ),
        "after_given_reasons": (
            [Way("engine", widest, ours_after_reasons)]
            + [Way("generate", batch, plain_verdicts(batch)) for batch in options.verdict_batches],
            AFTER_REASONS,
            compare(ours_after_reasons(), plain_verdicts(16)()),
        ),
    }
    prompts = encoder.encode_batch([question.chat for question in questions])
    full = [prompt + reply[:-1] for prompt, reply in zip(prompts, encoder.encode_responses(given), strict=True)]
    written = sum(map(len, full)) - sum(map(len, prompts))
    # Arithmetic of the matrix products alone, of every different token once.
    flops = 2 * sum(p.numel() for name, p in loaded.model.named_parameters() if "embed_tokens" not in name)
    tokens = {"with_reasons": tokens_when_shared(prompts) + written, "after_given_reasons": tokens_when_shared(full)}
    speed = matrix_flops()
    result: dict[str, object] = {}
    met = True
    for name, (ways, target, equality) in parts.items():
        rows = measure(ways, rounds=options.rounds, num=len(questions))
        best = max(float(str(row["per_second"])) for row in rows[1:])
        rate = float(str(rows[0]["per_second"]))
        floor = len(questions) * speed / (flops * tokens[name])
        fine = rate >= target * best and equality["verdicts_that_differ"] == 0
        met = met and fine
        result[name] = {
            "times_the_plain_way": round(rate / best, 2), "target": target, "met": fine, "verdicts": equality,
            "floor_per_second": round(floor), "share_of_floor": round(rate / floor, 3),
            "tokens_per_judgement": round(tokens[name] / len(questions), 1),
            "tokens_per_judgement_unshared": round(sum(map(len, full)) / len(questions), 1), "ways": rows,
        }  # fmt: skip
        print(
            f"{name}: {rate:.0f} judgements/s, {rate / best:.1f} times `generate` at its best ({best:.0f}/s), target "
            f"{target:g}: {'met' if fine else 'MISSED'}; {rate / floor:.0%} of the arithmetic floor ({floor:.0f}/s)"
        )
    result |= {
        "questions": len(questions), "threads": options.threads, "matrix_gflops": round(speed / 1e9, 1),
        "torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version(),
        "command": " ".join(["python", "benchmarks/judging_local.py", *sys.argv[1:]]),
    }  # fmt: skip
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
