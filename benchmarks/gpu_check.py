"""Whether judging and sampling run on this machine's GPU, agree with the CPU, and give its memory back: one run.

    python benchmarks/gpu_check.py

Asks the front desk's judge through the transformers engine, vLLM offline and a vLLM server (the last two where vLLM is
installed), and times a freshly drawn model of the shape of half a billion weights. Writes
benchmarks/results/gpu_check.json, which `rlaif doctor` reads; without a GPU it says so, writes nothing, and ends with
status 2. `--rehearse` goes through the same steps on the CPU with a small model and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from gpu_check_ppo import REAL, SMALL, check_training, engines_here
from transformers import LlamaConfig, LlamaForCausalLM

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.config.models import ModelConfig, VllmConfig
from rlaif.constitution.render import load_template, render, render_conversation
from rlaif.errors import RlaifError
from rlaif.frontdesk import JUDGE_DIR
from rlaif.frontdesk.judge_quality import draw_pairs
from rlaif.frontdesk.judge_text import PAIR_TEMPLATE
from rlaif.models.budget import Budget
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.models.interface import Chat, ScoredReply, ScoreRequest, TokenScorer
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.slot import Slot
from rlaif.models.vllm.engine import VllmEngine
from rlaif.models.vllm.process import installed_version
from rlaif.models.weights.loading import free_memory, load_causal_lm, load_tokenizer
from rlaif.models.weights.model_folder import find_model_folder
from rlaif.models.weights.saving import write_model
from rlaif.records import Prompt

RESULTS = Path(__file__).parent / "results" / "gpu_check.json"
GIB = 2**30
PRINCIPLES = ("Prefer the reply that is polite.", "The better reply is brief.", "Prefer the reply that is correct.")
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05}
"""Largest mean difference of a verdict's probability from the CPU's in float32."""
MAX_LEFT_GIB = 0.5
"""What may stay taken once an engine is closed: CUDA's own context."""
Dtype = Literal["float32", "bfloat16"]


class Plan(NamedTuple):
    device: str
    num_pairs: int
    layers: int
    width: int
    gpu_share: float


def make_questions(num_pairs: int) -> list[Chat]:
    """Questions for each pair: one principle, in both orders."""
    template = load_template(PAIR_TEMPLATE)
    return [
        render(
            template, conversation=render_conversation(Prompt.from_chat(pair.messages).messages), first=shown[0],
            second=shown[1], principle=PRINCIPLES[number % len(PRINCIPLES)],
        )
        for number, pair in enumerate(draw_pairs(seed=0, n=num_pairs))
        for shown in ((pair.first, pair.second), (pair.second, pair.first))
    ]  # fmt: skip


def make_request(*, with_reason: bool) -> ScoreRequest:
    template = load_template(PAIR_TEMPLATE)
    return ScoreRequest(template.verdict_marker, template.choices, template.reason_max_tokens if with_reason else 0)


def make_model(folder: Path, plan: Plan) -> Path:
    """Random weights with the front desk's tokenizer; half a billion in shape, but for its small vocabulary."""
    torch.manual_seed(0)
    tokenizer = load_tokenizer(find_model_folder(str(JUDGE_DIR)))
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=plan.width, intermediate_size=plan.width * 11 // 2,
        num_hidden_layers=plan.layers, num_attention_heads=plan.width // 64, num_key_value_heads=2,
        max_position_embeddings=2048, tie_word_embeddings=False, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    folder.mkdir()
    write_model(LlamaForCausalLM(config), tokenizer, folder, dtype="bfloat16")  # type: ignore[no-untyped-call]
    return folder


def compare(found: Sequence[ScoredReply], expected: Sequence[ScoredReply]) -> dict[str, Any]:
    """Probabilities of the first verdict against the CPU's in float32; verdicts where that one is clear."""
    both = [(p_first(a), p_first(b)) for a, b in zip(found, expected, strict=True) if a.logprobs and b.logprobs]
    clear = [(p, q) for p, q in both if abs(q - 0.5) > 0.25]
    return {
        "questions": len(expected),
        "answered": len(both),
        "mean_difference": math.fsum(abs(p - q) for p, q in both) / max(1, len(both)),
        "largest_difference": max((abs(p - q) for p, q in both), default=None),
        "clear_verdicts": len(clear),
        "same_clear_verdicts": sum((p > 0.5) == (q > 0.5) for p, q in clear),
    }


def p_first(reply: ScoredReply) -> float:
    first, second = reply.logprobs
    return 1 / (1 + math.exp(second - first))


def agrees(compared: dict[str, Any], dtype: Dtype) -> bool:
    """Reasons may differ in bfloat16, and with them single verdicts."""
    return bool(
        compared["answered"] >= 0.99 * compared["questions"]
        and compared["mean_difference"] <= TOLERANCE[dtype]
        and compared["same_clear_verdicts"] >= 0.98 * compared["clear_verdicts"]
    )


def used_gib(plan: Plan) -> float:
    """Memory of the GPU that all processes take."""
    if plan.device != "cuda":
        return 0.0
    free, total = torch.cuda.mem_get_info()
    return (total - free) / GIB


def check_engine(
    make: Callable[[Path, Dtype], TokenScorer], close: Callable[[], None], *, plan: Plan, expected: dict[bool, Any],
    big: Path,
) -> dict[str, Any]:  # fmt: skip
    """Agreement in both number formats, speed on the big model, memory before, within and after."""
    questions = make_questions(plan.num_pairs)
    before, found = used_gib(plan), {}
    held = True
    for dtype in ("float32", "bfloat16"):
        engine = make(JUDGE_DIR, dtype)
        for with_reason, replies in expected.items():
            compared = compare(engine.score(questions, request=make_request(with_reason=with_reason)), replies)
            held &= agrees(compared, dtype)
            found[f"{dtype}, {'after its own reason' if with_reason else 'verdict alone'}"] = compared
        del engine
        close()
    engine = make(big, "bfloat16")
    speed = {}
    for with_reason in (False, True):
        request = make_request(with_reason=with_reason)
        engine.score(questions[:8], request=request)  # what is made once is not timed
        started = time.monotonic()
        engine.score(questions, request=request)
        speed["48 tokens and no verdict" if with_reason else "verdict alone"] = round(
            len(questions) / (time.monotonic() - started), 1
        )
    within = used_gib(plan)
    del engine
    close()
    after = used_gib(plan)
    memory = {"before_gib": round(before, 2), "within_gib": round(within, 2), "after_gib": round(after, 2)}
    held &= after - before <= MAX_LEFT_GIB
    return {"held": held, "agreement": found, "questions_per_s": speed, "memory": memory}


def check_server(plan: Plan, *, expected: list[ScoredReply]) -> dict[str, Any]:
    """A vLLM server through the `openai` engine; it makes its own token ids of the prompt."""
    questions = make_questions(plan.num_pairs)
    with serving_vllm(plan) as url:
        config = JudgeConfig(
            model=JudgeModelConfig(engine="openai", path="frontdesk-judge"), endpoint=EndpointConfig(concurrency=64)
        )
        engine = OpenAIEngine(config, budget=Budget(), environ={"OPENAI_BASE_URL": url})
        started = time.monotonic()
        replies = engine.score(questions, request=make_request(with_reason=True))
        seconds = time.monotonic() - started
    compared = compare(replies, expected)
    return {
        "held": agrees(compared, "bfloat16"),
        "agreement": {"bfloat16, after its own reason": compared},
        "questions_per_s": {"front desk's judge": round(len(questions) / seconds, 1)},
    }


@contextmanager
def serving_vllm(plan: Plan) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(JUDGE_DIR), "--served-model-name",
        "frontdesk-judge", "--dtype", "bfloat16", "--host", "127.0.0.1", "--port", str(port),
        *(["--enforce-eager"] if plan.device == "cpu" else ["--gpu-memory-utilization", str(plan.gpu_share)]),
    ]  # fmt: skip
    environ = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    if plan.device == "cpu":
        environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    process = subprocess.Popen(command, env=environ, start_new_session=True)
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise RuntimeError(f"the vLLM server ended with status {process.returncode}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def attempt(what: str, check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """One engine's figures, or why there are none."""
    print(f"{what} ...", flush=True)
    try:
        found = check()
    except (RlaifError, RuntimeError, OSError, ValueError) as error:
        found = {"held": False, "error": str(error)[:1000]}
    print(json.dumps(found, indent=2), flush=True)
    return found


def run(plan: Plan) -> dict[str, Any]:
    questions = make_questions(plan.num_pairs)
    on_cpu = TransformersEngine(load_causal_lm(str(JUDGE_DIR), device="cpu"))
    expected = {reason: on_cpu.score(questions, request=make_request(with_reason=reason)) for reason in (True, False)}
    version, slot = installed_version(), Slot()
    with tempfile.TemporaryDirectory() as folder:
        big = make_model(Path(folder) / "model", plan)

        def in_transformers(path: Path, dtype: Dtype) -> TokenScorer:
            return TransformersEngine(load_causal_lm(str(path), dtype=dtype, device=plan.device))

        def in_vllm(path: Path, dtype: Dtype) -> TokenScorer:
            options = VllmConfig(gpu_memory_utilization=plan.gpu_share)
            return VllmEngine(ModelConfig(path=str(path), dtype=dtype, device=plan.device), options=options, slot=slot)

        engines = {
            "transformers": attempt(
                "transformers",
                lambda: check_engine(in_transformers, free_memory, plan=plan, expected=expected, big=big),
            )
        }
        if version is not None:
            engines["vllm"] = attempt(
                "vLLM offline", lambda: check_engine(in_vllm, slot.close, plan=plan, expected=expected, big=big)
            )
            slot.close()
            engines["vllm server"] = attempt("vLLM server", lambda: check_server(plan, expected=expected[True]))
        else:
            print('vLLM is not installed: pip install -e ".[vllm]" and run this again to try it too')
    ppo_plan = REAL if plan.device == "cuda" else SMALL
    ppo = {
        engine: attempt(f"PPO, sampling by {engine}", partial(check_training, ppo_plan, engine=engine))
        for engine in engines_here(ppo_plan)
    }
    machine = {
        "gpu": torch.cuda.get_device_name(0) if plan.device == "cuda" else "none",
        "gpu_memory_gib": round(torch.cuda.mem_get_info()[1] / GIB, 1) if plan.device == "cuda" else 0,
        "system": platform.platform(), "python": platform.python_version(), "torch": torch.__version__,
        "cuda": torch.version.cuda, "vllm": version,
    }  # fmt: skip
    return {"command": "python benchmarks/gpu_check.py", "machine": machine, "engines": engines, "ppo": ppo}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="the same on the CPU, small; writes nothing")
    args = parser.parse_args()
    if args.rehearse:
        found = run(Plan("cpu", num_pairs=8, layers=2, width=128, gpu_share=0.5))
    elif torch.cuda.is_available():
        found = run(Plan("cuda", num_pairs=512, layers=24, width=896, gpu_share=0.4))
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        print(f"wrote {RESULTS}")
    else:
        print("this machine has no CUDA GPU that torch sees, so nothing was tried and nothing written")
        return 2
    return 0 if all(part["held"] for part in (*found["engines"].values(), *found["ppo"].values())) else 1


if __name__ == "__main__":
    sys.exit(main())
