"""Sampling and judging on a real local Ray with two workers: the answers of a local engine, whoever is killed.

The scripted judges leave a line for each question in files of their own, so that what was asked is counted at the
workers and not by what the driver believes.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import ray_judges

from rlaif.config.generate import JudgeConfig
from rlaif.config.scale import ScaleConfig
from rlaif.constitution.render import load_template
from rlaif.errors import LedgerError, StageError
from rlaif.judging.judge import Asking, Judging, judge_pairs
from rlaif.judging.question_log import read_streamed
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.models.budget import Budget
from rlaif.models.ray.cluster import leave_cluster
from rlaif.models.ray.engine import Described, RayScorer
from rlaif.models.scripted_engine import ScriptedEngine
from rlaif.records import Constitution, Message, Principle, Prompt, Sample

pytestmark = pytest.mark.heavy(minutes=0.9)

TESTS = Path(__file__).parent
CHECKOUT = TESTS.parent
TEMPLATE = load_template("pair")
CONSTITUTION = Constitution(name="c", principles=(Principle(id="brief", text="Be brief."),), source="")
BATCH = 4


@pytest.fixture
def asked_dir(tmp_path: Path) -> Iterator[Path]:
    """Where the judges of this test write what they are asked; a cluster that begins now inherits it."""
    folder = tmp_path / "asked"
    folder.mkdir()
    before = {name: os.environ.get(name) for name in (ray_judges.FOLDER, "PYTHONPATH")}
    os.environ.update({ray_judges.FOLDER: str(folder), "PYTHONPATH": f"{TESTS}{os.pathsep}{CHECKOUT}"})
    yield folder
    leave_cluster()
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def make_pairs(num: int) -> tuple[dict[str, Prompt], list[tuple[Sample, Sample]]]:
    prompts, pairs = {}, []
    for n in range(num):
        prompt = Prompt(messages=(Message(role="user", content=f"question {n}"),), source="test")
        first, second = (
            Sample(
                prompt_id=prompt.id, policy_id="p", index=i, finish_reason="stop", text=f"reply {i} to {n}" + "." * i
            )
            for i in range(2)
        )
        prompts[prompt.id] = prompt
        pairs.append((first, second))
    return prompts, pairs


def judge(
    folder: Path,
    script: str,
    *,
    num_pairs: int,
    on_ray: bool = True,
    budget: Budget | None = None,
    address: str = "local",
) -> Judging:
    """Judgements of so many pairs in both orders, into the ledger of a folder."""
    engine = ScriptedEngine(f"ray_judges:{script}")
    scorer = RayScorer(
        Described(engine.fingerprint, engine.context_tokens, engine.count_tokens),
        make_engine=partial(ScriptedEngine, f"ray_judges:{script}"),
        scale=ScaleConfig(engine="ray", address=address, num_workers=2, batch_size=BATCH),
        budget=budget or Budget(),
        batch_tokens=10_000,
    )
    prompts, pairs = make_pairs(num_pairs)
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        return judge_pairs(
            pairs, prompts=prompts, scorer=scorer if on_ray else engine, plan_path=folder / "questions_plan.json",
            asking=Asking(
                constitution=CONSTITUTION, template=TEMPLATE, config=JudgeConfig(batch_tokens=700), ledger=ledger,
                budget=budget or Budget(),
            ),
        )  # fmt: skip


def answered(folder: Path) -> list[str]:
    with Ledger.open(folder / "ledger.sqlite", read_only=True) as ledger:
        assert verify(ledger).ok
        return [key for (key,) in ledger.rows("SELECT question_id FROM judgements")]


def test_a_run_begun_here_is_ended_by_workers_and_nothing_is_asked_twice(tmp_path, asked_dir):
    """Same keys: a cap stops the local judge half way, the workers ask the rest, and further workers nothing."""
    with pytest.raises(StageError, match="max_calls"):
        judge(tmp_path, "prefer_short", num_pairs=30, on_ray=False, budget=Budget(max_calls=24))
    here = answered(tmp_path)
    assert len(here) == len(ray_judges.asked(asked_dir)) == 24
    with pytest.raises(StageError, match="judge.max_calls of 40"):
        judge(
            tmp_path, "prefer_short", num_pairs=30, budget=Budget(max_calls=40, spent=Budget().spent._replace(calls=24))
        )
    assert len(ray_judges.asked(asked_dir)) == 40
    judging = judge(tmp_path, "prefer_short", num_pairs=30)
    assert judge(tmp_path, "prefer_short", num_pairs=30).comparisons == judging.comparisons
    assert len(judging.judgements) == 60
    assert not set(here) & set(read_streamed(tmp_path))
    assert set(Counter(ray_judges.asked(asked_dir)).values()) == {1}
    assert {round(abs(c.logit), 6) for c in judging.comparisons} == {round((math.log(9) + math.log(4)) / 2, 6)}
    afresh = tmp_path / "afresh"
    afresh.mkdir()
    assert judge(afresh, "prefer_short", num_pairs=30, on_ray=False).comparisons == judging.comparisons


def test_a_worker_that_is_killed_is_replaced_and_no_answer_is_lost_or_counted_twice(tmp_path, asked_dir, capsys):
    killed = []

    def kill_one() -> None:
        while len(ray_judges.asked(asked_dir)) < 40:
            time.sleep(0.02)
        killed.append(next(pid for pid in ray_judges.pids(asked_dir) if pid != os.getpid()))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    judging = judge(tmp_path, "slow", num_pairs=200)
    killer.join()
    assert killed
    assert (len(judging.judgements), judging.failed, judging.tally.dropped) == (400, [], {})
    assert sorted(answered(tmp_path)) == sorted(question.id for question in judging.questions)
    again = Counter(ray_judges.asked(asked_dir))
    assert len(again) == 400
    assert again.total() - 400 <= 2 * BATCH, "what the dead worker had, and no more"
    assert len(ray_judges.pids(asked_dir)) == 3
    assert "replaces a worker that died" in capsys.readouterr().err


def test_a_worker_that_dies_over_the_same_questions_again_and_again_ends_the_run_with_a_sentence(
    tmp_path, asked_dir, capfd
):
    with pytest.raises(StageError) as raised:
        judge(tmp_path, "deadly", num_pairs=30)
    assert "the workers died 2 times over the same questions" in raised.value.sentence
    assert "--resume" in raised.value.sentence
    assert answered(tmp_path)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert "raylet" not in err


def test_a_judge_that_fails_is_told_by_name_of_its_worker(tmp_path, asked_dir):
    with pytest.raises(StageError, match=r"the third layer is upside down.*process \d+"):
        judge(tmp_path, "broken", num_pairs=4)


def test_a_node_that_is_lost_for_good_costs_what_was_under_way_there(tmp_path, asked_dir, capsys):
    """A cluster of two nodes on this machine, a worker on each; one node is killed and never comes back."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        other = cluster.add_node(num_cpus=1)

        def lose_the_other() -> None:
            while len(ray_judges.asked(asked_dir)) < 60:
                time.sleep(0.02)
            cluster.remove_node(other, allow_graceful=False)

        loser = threading.Thread(target=lose_the_other)
        loser.start()
        judging = judge(tmp_path, "slow", num_pairs=200, address=cluster.address)
        loser.join()
        assert (len(judging.judgements), judging.failed) == (400, [])
        assert sorted(answered(tmp_path)) == sorted(question.id for question in judging.questions)
        again = Counter(ray_judges.asked(asked_dir))
        assert len(again) == 400
        assert again.total() - 400 <= 2 * 3 * BATCH
        assert "workers were lost" in capsys.readouterr().err
    finally:
        leave_cluster()
        cluster.shutdown()


CHILD = """
import signal, sys
from pathlib import Path
from rlaif.cli import _terminate
signal.signal(signal.SIGTERM, _terminate)
from test_ray import judge
judge(Path(sys.argv[1]), "slow", num_pairs=150)
"""


def start_driver(folder: Path, asked_dir: Path) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{CHECKOUT}", ray_judges.FOLDER: str(asked_dir)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for_answers(folder: Path, more_than: int, driver: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and driver.poll() is None:
        with suppress(LedgerError):  # the driver is just making it
            if (folder / "ledger.sqlite").exists() and len(answered(folder)) > more_than:
                return
        time.sleep(0.1)
    pytest.fail("the driver judged nothing")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_that_is_killed_goes_on_where_it_stood(tmp_path, how):
    """What the ledger held when the driver died is never asked again, and its workers die with it."""
    first_dir, second_dir = tmp_path / "first", tmp_path / "second"
    first_dir.mkdir()
    second_dir.mkdir()
    driver = start_driver(tmp_path, first_dir)
    wait_for_answers(tmp_path, 40, driver)
    driver.send_signal(how)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode in (-how, -signal.SIGINT), err.decode()
    assert out == b""
    assert how == signal.SIGKILL or err.rstrip().endswith(b"KeyboardInterrupt"), err.decode()
    held = answered(tmp_path)
    assert 40 < len(held) < 300
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in ray_judges.pids(first_dir)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in ray_judges.pids(first_dir) if Path(f"/proc/{pid}").exists()]
    if how != signal.SIGKILL:
        return
    sent_before = len(read_streamed(tmp_path))
    driver = start_driver(tmp_path, second_dir)
    out, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, err.decode()
    assert len(answered(tmp_path)) == 300
    assert len(set(answered(tmp_path))) == 300
    assert len(ray_judges.asked(second_dir)) == 300 - len(held)
    assert not set(held) & set(read_streamed(tmp_path)[sent_before:])
    assert set(Counter(ray_judges.asked(second_dir)).values()) == {1}
