"""How many judgements a second a served judge gives that are on the disk, what each costs the client, what memory.

    python benchmarks/judging.py --part endpoint [--pairs 1000 10000]

A stub server in a process of its own has 64 slots of 50 ms, so 1,280 replies a second at most. Pairs are judged in
both orders under one principle: rendered, sent, read, hashed, chained and committed. Each size runs in a process of its
own, whose memory is read as it goes, and beside it what of that SQLite's page cache holds, which may grow to 64 MiB and
no further. The floor: the same bodies sent by aiohttp alone, replies parsed and dropped.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.constitution.render import load_template
from rlaif.judging.asking import Asking
from rlaif.judging.open_questions import Rendered
from rlaif.judging.question_log import LOG_NAME
from rlaif.judging.questions import plan_questions, render_questions
from rlaif.judging.streaming import StreamAsker
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Budget
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.records import Constitution, Message, Principle, Prompt, Sample

CONCURRENCY = 64
CONSTITUTION = Constitution(name="b", principles=(Principle(id="brief", text="Prefer the briefer reply."),), source="")
TEMPLATE = load_template("pair")
CONFIG = JudgeConfig(
    model=JudgeModelConfig(engine="openai", path="stub"),
    endpoint=EndpointConfig(concurrency=CONCURRENCY, prompt_price=0.1, reply_price=0.4),
)


def make_pair(number: int) -> tuple[Prompt, tuple[Sample, Sample]]:
    """A question and two replies of ordinary length."""
    prompt = Prompt(messages=(Message(role="user", content=f"Question {number}: when does it open? " * 4),), source="b")
    first, second = (
        Sample(
            prompt_id=prompt.id, policy_id="p", index=place, finish_reason="stop",
            text=f"It opens at nine in the morning, as the notice {number} says, and closes at six. " * (3 + place),
        )
        for place in range(2)
    )  # fmt: skip
    return prompt, (first, second)


class Made(dict[str, Prompt]):
    """The prompts of the pair that is being rendered: pairs are made as they are asked for."""


def make_rendered(num_pairs: int, engine: OpenAIEngine) -> Rendered:
    prompts = Made()

    def pairs() -> Iterator[tuple[Sample, Sample]]:
        for number in range(num_pairs):
            prompt, pair = make_pair(number)
            prompts.clear()
            prompts[prompt.id] = prompt
            yield pair

    return render_questions(
        plan_questions(pairs(), constitution=CONSTITUTION, template=TEMPLATE, config=CONFIG), prompts=prompts,
        template=TEMPLATE, judge_id=engine.fingerprint.id, decoding=engine.decoding,
    )  # fmt: skip


def memory_mib() -> float:
    """What the process holds now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def watch_memory(rendered: Rendered, into: list[dict[str, float]]) -> Rendered:
    """The questions as they are; after 1,000 of them, 2,000, 4,000, ... what the process holds."""
    following = 1000
    for number, question in enumerate(rendered):
        if number == following:
            into.append(memory_after(number))
            following *= 2
        yield question


def memory_after(judgements: int) -> dict[str, float]:
    whole, cache = memory_mib(), apsw.memory_used() / 2**20
    return {
        "judgements": judgements,
        "process_mib": round(whole, 1),
        "of_it_page_cache_mib": round(cache, 1),
        "rest_mib": round(whole - cache, 1),
    }


def judge_all(url: str, num_pairs: int, results: Any) -> None:
    """One process: ask, commit, count."""
    engine = OpenAIEngine(
        CONFIG,
        budget=Budget(max_tokens=10**12),
        environ={"OPENAI_BASE_URL": url},
    )
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.sqlite") as ledger:
        ledger.append([engine.fingerprint, CONSTITUTION])
        asking = Asking(constitution=CONSTITUTION, template=TEMPLATE, config=CONFIG, ledger=ledger)
        asker = StreamAsker(engine, asking=asking, log_path=Path(folder) / LOG_NAME)
        memory = [memory_after(0)]
        wall, cpu = time.perf_counter(), time.process_time()
        asker.ask(
            lambda: watch_memory(make_rendered(num_pairs, engine), memory), total=2 * num_pairs,
            label=f"{num_pairs} pairs",
        )  # fmt: skip
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        memory.append(memory_after(2 * num_pairs))
        [(durable,)] = ledger.rows("SELECT count(*) FROM judgements")
    assert durable == 2 * num_pairs
    results.send(
        {
            "pairs": num_pairs,
            "judgements": durable,
            "seconds": round(seconds, 2),
            "durable_judgements_per_s": round(durable / seconds, 1),
            "client_cpu_ms_each": round(cpu_seconds / durable * 1000, 3),
            "memory": memory,
        }
    )


def floor(url: str, num_requests: int, results: Any) -> None:
    """The same requests by aiohttp alone."""
    import aiohttp

    from rlaif.models.endpoint.prompt import to_plain_chat

    class Nobody:
        fingerprint = type("F", (), {"id": "x"})
        decoding = ""

    bodies = [
        json.dumps({"model": "stub", "messages": to_plain_chat(chat).messages, "logprobs": True, "top_logprobs": 20})
        for _, chat in make_rendered(64, Nobody())  # type: ignore[arg-type]
    ]

    async def main() -> tuple[float, float]:
        waiting = iter(range(num_requests))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:

            async def work() -> None:
                for number in waiting:
                    async with session.post(f"{url}/chat/completions", data=bodies[number % len(bodies)]) as response:
                        json.loads(await response.read())

            wall, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
            return time.perf_counter() - wall, time.process_time() - cpu

    seconds, cpu_seconds = asyncio.run(main())
    results.send(
        {
            "requests": num_requests,
            "replies_per_s": round(num_requests / seconds, 1),
            "client_cpu_ms_each": round(cpu_seconds / num_requests * 1000, 3),
        }
    )


def in_child(target: Any, *args: Any) -> Any:
    receiving, sending = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=target, args=(*args, sending))
    child.start()
    result = receiving.recv()
    child.join()
    return result


def measure_endpoint(url: str, *, sizes: list[int], floor_requests: int) -> dict[str, Any]:
    """The floor, then each number of pairs."""
    report: dict[str, Any] = {"floor_aiohttp_alone": in_child(floor, url, floor_requests), "rlaif": []}
    print(report["floor_aiohttp_alone"], flush=True)
    for num_pairs in sizes:
        report["rlaif"].append(in_child(judge_all, url, num_pairs))
        print({name: value for name, value in report["rlaif"][-1].items() if name != "memory"}, flush=True)
    return report
