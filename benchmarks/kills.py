"""A served judge killed with SIGKILL at 200 random moments and resumed each time: what was asked twice.

    python benchmarks/kills.py [--kills 200] [--pairs 600]

A stub server of 64 slots x 50 ms counts by content what it is asked. A child process judges pairs through the endpoint
engine into a ledger; it is killed at a random moment - of its whole life, or after its first request - and started
anew until its ledger is full; then the next ledger, until there were so many kills. An acknowledged judgement, one that
the ledger holds, must never be asked for again, and after a kill at most concurrency + 64 requests may come a second
time: those under way, and those whose answers waited for their commit. Writes benchmarks/results/kills.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from judging_endpoint import CONSTITUTION, TEMPLATE, make_pair
from stub_server import DESCRIPTION, Stub, content_key, running_stub

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.judging.judge import Asking, judge_pairs
from rlaif.judging.questions import plan_questions, render_questions
from rlaif.judging.streaming import MAX_UNACKNOWLEDGED
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.models.budget import Budget
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.models.endpoint.prompt import to_plain_chat
from rlaif.records import Prompt, Sample

RESULTS = Path(__file__).parent / "results" / "kills.json"
CONCURRENCY = 64
CONFIG = JudgeConfig(
    model=JudgeModelConfig(engine="openai", path="stub"), endpoint=EndpointConfig(concurrency=CONCURRENCY)
)


def make_pairs(numbers: range) -> tuple[dict[str, Prompt], list[tuple[Sample, Sample]]]:
    made = [make_pair(number) for number in numbers]
    return {prompt.id: prompt for prompt, _ in made}, [pair for _, pair in made]


def judge(url: str, folder: Path, numbers: range) -> None:
    """The child: all pairs, as `rlaif generate-prefs` judges them."""
    engine = OpenAIEngine(CONFIG, budget=Budget(), environ={"OPENAI_BASE_URL": url})
    prompts, pairs = make_pairs(numbers)
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        judge_pairs(
            pairs, prompts=prompts, scorer=engine, plan_path=folder / "questions_plan.json",
            asking=Asking(constitution=CONSTITUTION, template=TEMPLATE, config=CONFIG, ledger=ledger),
        )  # fmt: skip


def contents(numbers: range) -> dict[str, str]:
    """Question id -> the key under which the server counts it."""
    engine = OpenAIEngine(CONFIG, budget=Budget(), environ={"OPENAI_BASE_URL": "http://none"})
    prompts, pairs = make_pairs(numbers)
    rendered = render_questions(
        plan_questions(pairs, constitution=CONSTITUTION, template=TEMPLATE, config=CONFIG), prompts=prompts,
        template=TEMPLATE, judge_id=engine.fingerprint.id, decoding=engine.decoding,
    )  # fmt: skip
    return {question.id: content_key(to_plain_chat(chat).messages) for question, chat in rendered}


def run_until_whole(
    stub: Stub, folder: Path, numbers: range, *, rng: random.Random, kills_left: int
) -> list[dict[str, Any]]:
    """Start, kill, look, until the child ends by itself: what each kill led to."""
    content_of = contents(numbers)
    held: dict[str, int] = {}  # how often the server had been asked for an answer when the ledger first held it
    kills: list[dict[str, Any]] = []
    before: Counter[str] = Counter()
    returncode = None
    while returncode != 0:
        command = [sys.executable, __file__, "--child", stub.url, str(folder), str(numbers.start), str(numbers.stop)]
        started = time.monotonic()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if len(kills) < kills_left:
            if rng.random() < 0.75:
                while child.poll() is None and stub.counts() == before:
                    time.sleep(0.01)
                time.sleep(rng.uniform(0, 0.8))
            else:
                time.sleep(rng.uniform(0, 2.0))
            child.kill()
        _, errors = child.communicate()
        returncode = child.returncode
        assert returncode in (-signal.SIGKILL, 0), errors.decode()[-2000:]
        time.sleep(0.1)  # what was under way when the child died arrives at the server
        counts = stub.counts()
        with Ledger.open(folder / "ledger.sqlite") as ledger:
            in_ledger = [key for (key,) in ledger.rows("SELECT question_id FROM judgements")]
            assert verify(ledger).ok
        for key in in_ledger:
            held.setdefault(content_of[key], counts[content_of[key]])
        if kills:
            kills[-1]["asked_twice"] = sum((counts - before)[content] for content in before)
        if returncode != 0:
            seconds = round(time.monotonic() - started, 2)
            kills.append({"after_s": seconds, "held": len(in_ledger), "sent": counts.total(), "asked_twice": 0})
        before = counts
    assert len(held) == len(content_of)
    repeated = sum(before[content] > times for content, times in held.items())
    return [{**kill, "acknowledged_repeated": 0} for kill in kills[:-1]] + [
        {**kill, "acknowledged_repeated": repeated} for kill in kills[-1:]
    ]


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        judge(sys.argv[2], Path(sys.argv[3]), range(int(sys.argv[4]), int(sys.argv[5])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=600, help="pairs of each ledger, asked in both orders")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    kills: list[dict[str, Any]] = []
    ledgers = questions = requests = 0
    with running_stub() as stub, tempfile.TemporaryDirectory() as folder:
        while len(kills) < options.kills:
            stub.reset()
            numbers = range(ledgers * options.pairs, (ledgers + 1) * options.pairs)
            kills += run_until_whole(
                stub, Path(folder) / f"{ledgers}", numbers, rng=rng, kills_left=options.kills - len(kills)
            )
            ledgers += 1
            questions += 2 * options.pairs
            requests += stub.counts().total()
            print(f"{len(kills)} kills, {questions} questions, {requests} requests", flush=True)
    report = {
        "command": f"python benchmarks/kills.py --kills {options.kills} --pairs {options.pairs} --seed {options.seed}",
        "server": DESCRIPTION,
        "cores": os.cpu_count(),
        "concurrency": CONCURRENCY,
        "kills": len(kills),
        "kills_before_the_first_request": sum(kill["sent"] == 0 for kill in kills),
        "ledgers": ledgers,
        "questions": questions,
        "requests": requests,
        "acknowledged_repeated": sum(kill["acknowledged_repeated"] for kill in kills),
        "asked_twice_after_a_kill": {
            "mean": round(sum(kill["asked_twice"] for kill in kills) / len(kills), 1),
            "most": max(kill["asked_twice"] for kill in kills),
            "allowed": CONCURRENCY + MAX_UNACKNOWLEDGED,
        },
        "each": kills,
    }
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    assert report["acknowledged_repeated"] == 0
    assert max(kill["asked_twice"] for kill in kills) <= CONCURRENCY + MAX_UNACKNOWLEDGED


if __name__ == "__main__":
    main()
