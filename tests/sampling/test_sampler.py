"""What the ledger already holds is taken and not drawn again, and nobody can tell the difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from rlaif.config.generate import SamplingConfig
from rlaif.errors import ConstitutionError, RunFolderError
from rlaif.frontdesk import POLICY_DIR
from rlaif.frontdesk.world import make_prompts
from rlaif.ledger.store import Ledger
from rlaif.models.interface import Chat, TextGenerator
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.weights.loading import load_causal_lm
from rlaif.records import Constitution, Principle, Prompt, Sample, digest_text
from rlaif.sampling.sampler import find_instructions, sample_responses

PROMPTS = [Prompt.from_chat(chat) for chat in make_prompts(seed=5, n=12)]


@pytest.fixture(scope="module")
def policy() -> TransformersEngine:
    return TransformersEngine(load_causal_lm(str(POLICY_DIR), dtype="float32", device="cpu"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        yield opened


def sample(
    policy: TextGenerator, ledger: Ledger, folder: Path, prompts: list[Prompt], *, seed: int = 0, num: int = 2
) -> list[Sample]:
    return sample_responses(
        prompts, generator=policy, config=SamplingConfig(batch_size=7), num_samples=num, seed=seed, round=0,
        ledger=ledger, plan_path=folder / "samples_plan.json",
    )  # fmt: skip


def count(ledger: Ledger) -> int:
    return int(ledger.rows("SELECT count(*) FROM samples")[0][0])


def test_samples_found_in_the_ledger_are_those_that_would_be_drawn_afresh(
    policy: TransformersEngine, ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample(policy, ledger, tmp_path / "yesterday", PROMPTS[3:8])
    assert "found in the ledger" not in capsys.readouterr().err
    today = sample(policy, ledger, tmp_path / "today", PROMPTS, num=3)
    assert "samples: 36, of which 10 found in the ledger" in capsys.readouterr().err
    assert count(ledger) == 36, "those of yesterday were not drawn again"
    with Ledger.open(tmp_path / "other.sqlite") as other:
        afresh = sample(policy, other, tmp_path / "afresh", PROMPTS, num=3)
    assert [s.id for s in today] == [s.id for s in afresh]
    assert [s.content_json for s in today] == [s.content_json for s in afresh]


def test_responses_are_drawn_in_turn_under_each_instruction_and_say_so_in_their_key(
    policy: TransformersEngine, ledger: Ledger, tmp_path: Path
) -> None:
    asked: list[str] = []

    class Watched:
        """The policy, with what it is asked written down."""

        def __getattr__(self, name: str) -> Any:
            return getattr(policy, name)

        def generate(self, chats: Sequence[Chat], **rest: Any) -> Any:
            asked.extend(chat[0].text for chat in chats if chat[0].role == "system" and chat[0].segments[0].trusted)
            return policy.generate(chats, **rest)

    instructions = ("Be kind.", "Be cold.")
    drawn = sample_responses(
        PROMPTS[:2], generator=cast(Any, Watched()), config=SamplingConfig(batch_size=7, max_new_tokens=8),
        num_samples=3, seed=0, round=0, ledger=ledger, plan_path=tmp_path / "plan.json", instructions=instructions,
    )  # fmt: skip
    assert [sample.instruction_digest for sample in drawn] == 2 * [
        digest_text("Be kind."), digest_text("Be cold."), digest_text("Be kind.")
    ]  # fmt: skip
    assert sorted(text.split("\n")[0] for text in asked) == 2 * ["Be cold."] + 4 * ["Be kind."]
    plain = sample_responses(
        PROMPTS[:2], generator=policy, config=SamplingConfig(batch_size=7, max_new_tokens=8), num_samples=3, seed=0,
        round=0, ledger=ledger, plan_path=tmp_path / "plain.json",
    )  # fmt: skip
    assert not {sample.request_key for sample in drawn} & {sample.request_key for sample in plain}
    assert all("instruction_digest" not in sample.content_json for sample in plain), "as if there were no such field"


def test_instructions_are_each_principle_and_its_opposite_and_one_without_is_refused() -> None:
    warm = Principle(id="warm", text="Be kind.", opposite="Be cold.")
    brief = Principle(id="brief", text="Be brief.")
    one = Constitution(name="one", principles=(warm, brief.model_copy(update={"weight": 0.0})), source="")
    assert find_instructions(one, under="prompt") == ("",)
    assert find_instructions(one, under="principles") == ("Be kind.", "Be cold.")
    both = one.changed(principles=(warm, brief))
    with pytest.raises(ConstitutionError, match='principle "brief" has no opposite'):
        find_instructions(both, under="principles")


def test_another_seed_or_more_tokens_is_another_request(
    policy: TransformersEngine, ledger: Ledger, tmp_path: Path
) -> None:
    first = sample(policy, ledger, tmp_path / "first", PROMPTS[:4])
    second = sample(policy, ledger, tmp_path / "second", PROMPTS[:4], seed=1)
    assert not {s.id for s in first} & {s.id for s in second}
    assert {s.text for s in first} != {s.text for s in second}


class Changed:
    """The policy under the same path with other weights."""

    def __init__(self, engine: TransformersEngine) -> None:
        self.fingerprint, self.context_tokens = engine.fingerprint.changed(weights="f" * 64), engine.context_tokens
        self.count_tokens, self.generate = engine.count_tokens, engine.generate


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("policy", "the policy's fingerprint changed from "),
        ("prompts", "the prompts changed since the stage began"),
        ("seed", "the sampling options or the seed changed"),
        ("nothing is in the ledger", "the policy, the prompts or the sampling options changed"),
    ],
)
def test_a_plan_that_names_what_is_not_asked_for_now_says_what_changed(
    policy: TransformersEngine, ledger: Ledger, tmp_path: Path, what: str, words: str
) -> None:
    sample(policy, ledger, tmp_path, PROMPTS[:2])
    generator = Changed(policy) if what == "policy" else policy
    prompts = PROMPTS[:2] if what in ("policy", "seed") else PROMPTS[2:4]
    with Ledger.open(tmp_path / "other.sqlite") as other:
        held = other if what == "nothing is in the ledger" else ledger
        with pytest.raises(RunFolderError, match=r"samples_plan\.json.*put it back, or start a new run") as raised:
            sample(generator, held, tmp_path, prompts, seed=int(what == "seed"))
    assert words in raised.value.sentence


class Backwards:
    """The policy as a generator that has all batches under way at once and ends the last one first."""

    def __init__(self, engine: TransformersEngine) -> None:
        self._engine = engine
        self.fingerprint, self.context_tokens = engine.fingerprint, engine.context_tokens
        self.count_tokens, self.generate, self.close = engine.count_tokens, engine.generate, engine.close

    def generate_batches(self, batches, *, params):
        for number, (chats, keys) in reversed(list(enumerate(batches))):
            yield number, self._engine.generate(chats, params=params, keys=keys), 2.0 * len(chats)


def test_batches_that_end_in_another_order_are_the_same_samples(
    policy: TransformersEngine, ledger: Ledger, tmp_path: Path
) -> None:
    streamed = sample(Backwards(policy), ledger, tmp_path / "streamed", PROMPTS)
    assert {s.observed.latency_s for s in streamed} == {2.0}
    with Ledger.open(tmp_path / "other.sqlite") as other:
        in_order = sample(policy, other, tmp_path / "in_order", PROMPTS)
    assert [s.content_json for s in streamed] == [s.content_json for s in in_order]
    assert count(ledger) == 24
