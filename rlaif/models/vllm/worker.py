"""The process in which vLLM runs: token ids in, token ids and log-probabilities out, as lines of JSON.

Runs as a script and imports nothing of rlaif. Ends when its input ends, and takes vLLM's own processes with it.
Knows no chat and no verdict.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
import time
from typing import IO, Any

GRACE_S = 10.0
"""How long an idle vLLM may take to end by itself, in seconds."""
CPU_CACHE_BYTES = 2 * 2**30
"""Cache on a CPU where the user gives no size: vLLM would take its share of all memory."""


class Requests:
    """Requests from the parent, as lines. When they end, this process ends, even in the middle of work."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._at_work = True  # loading the model counts as work
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Any:
        """The next request; None after the last one."""
        self._at_work = False
        line = self._lines.get()
        self._at_work = True
        return None if line is None else json.loads(line)

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line)
        if not self._at_work:
            self._lines.put(None)
            time.sleep(GRACE_S)
        if os.getpgrp() == os.getpid():  # the parent has put this process into a separate group
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def open_model(options: dict[str, Any]) -> Any:
    """A model in vLLM. `options`: arguments of vllm.LLM."""
    from vllm import LLM
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        options.setdefault("enforce_eager", True)  # for a small model, compiling takes longer than all of its work
        # subtle: for a prompt that is read in parts vLLM 0.32 rewinds its seed, which it cannot do on a CPU
        options.setdefault("enable_chunked_prefill", False)
        if not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
            options.setdefault("kv_cache_memory_bytes", CPU_CACHE_BYTES)
    return LLM(**options)


def generate(llm: Any, request: dict[str, Any]) -> list[dict[str, Any]]:
    """New tokens of each prompt, stop tokens included, and `choice_ids`' log-probabilities at each of their places."""
    from vllm import SamplingParams

    # A batch's answers must not depend on earlier batches, or a resumed run would differ from an unbroken one.
    llm.reset_prefix_cache()
    choice_ids = request["choice_ids"]
    params = [
        SamplingParams(
            temperature=request["temperature"],
            top_p=request["top_p"],
            seed=seed,
            max_tokens=request["max_tokens"],
            stop_token_ids=request["stop_token_ids"],
            stop=request["stop"],
            detokenize=bool(request["stop"]),
            logprob_token_ids=choice_ids or None,
        )
        for seed in request["seeds"]
    ]
    prompts = [{"prompt_token_ids": ids} for ids in request["prompts"]]
    outputs = [done.outputs[0] for done in llm.generate(prompts, params, use_tqdm=False)]
    return [
        {
            "ids": list(output.token_ids),
            "logprobs": [[place[token].logprob for token in choice_ids] for place in output.logprobs or ()],
        }
        for output in outputs
    ]


def roll_out(llm: Any, request: dict[str, Any]) -> list[dict[str, Any]]:
    """New tokens of each prompt, drawn from the tempered distribution, and the log-probability of each."""
    from vllm import SamplingParams

    llm.reset_prefix_cache()
    params = [
        SamplingParams(
            temperature=request["temperature"],
            seed=seed,
            max_tokens=request["max_tokens"],
            stop_token_ids=request["stop_token_ids"],
            ignore_eos=True,  # nothing ends a response but the tokens that are named
            logprobs=0,  # only the sampled token's
            detokenize=False,
        )
        for seed in request["seeds"]
    ]
    prompts = [{"prompt_token_ids": ids} for ids in request["prompts"]]
    outputs = [done.outputs[0] for done in llm.generate(prompts, params, use_tqdm=False)]
    return [
        {
            "ids": list(output.token_ids),
            "logprobs": [place[token].logprob for place, token in zip(output.logprobs, output.token_ids, strict=True)],
        }
        for output in outputs
    ]


def read(llm: Any, request: dict[str, Any]) -> list[list[float]]:
    """Log-probability of each prompt's tokens from its place in `starts` on, each after the tokens before it."""
    from vllm import SamplingParams

    llm.reset_prefix_cache()
    # subtle: vLLM reads log-probabilities of a prompt only together with a new token, which is not used
    params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
    prompts = [{"prompt_token_ids": ids} for ids in request["prompts"]]
    outputs = llm.generate(prompts, params, use_tqdm=False)
    return [
        [place[token].logprob for place, token in zip(output.prompt_logprobs[start:], ids[start:], strict=True)]
        for output, ids, start in zip(outputs, request["prompts"], request["starts"], strict=True)
    ]


def load_weights(llm: Any, request: dict[str, Any]) -> None:
    """Replace the weights by those of a model folder."""
    llm.collective_rpc("reload_weights", kwargs={"weights_path": request["folder"]})
    llm.reset_prefix_cache()


def sleep(llm: Any, request: dict[str, Any]) -> None:
    """Give back the GPU's memory; the weights stay in the machine's."""
    llm.sleep(level=1)


def wake_up(llm: Any, request: dict[str, Any]) -> None:
    llm.wake_up()


ANSWERS = {
    "generate": generate, "roll_out": roll_out, "read": read, "load_weights": load_weights, "sleep": sleep,
    "wake_up": wake_up,
}  # fmt: skip


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    requests = Requests(os.fdopen(os.dup(0), encoding="utf-8"))
    # vLLM prints, and its own processes inherit what is open: neither may reach the parent's pipes.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    llm = None
    while (request := requests.next()) is not None:
        if llm is None:
            from vllm.platforms import current_platform

            llm = open_model(request)
            answer: Any = {"device": current_platform.device_type}
        else:
            answer = ANSWERS[request.get("do", "generate")](llm, request)
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
