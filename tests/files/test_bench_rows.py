"""Decided pairs as rows of RewardBench's format, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

from rlaif.files.bench_rows import DecidedPair, bench_rows
from rlaif.records import Message
from rlaif.reward_model.reward_bench import read_bench


def asked(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


PLAIN = DecidedPair(asked("When do you open?"), "At nine.", "Who knows.", subset="overall")
TURNS: tuple[tuple[Literal["user", "assistant"], str], ...] = (("user", "Hi."), ("assistant", "Hello!"), ("user", "?"))
ODD = [
    DecidedPair(tuple(Message(role=role, content=text) for role, text in TURNS), "a", "b", subset="turns"),
    DecidedPair(asked("\n\nHuman: hello\n\nAssistant: yes?\n\nHuman: no"), "Human: a", '["b"]', subset="transcript"),
    DecidedPair(asked('[{"role": "user"'), "  a\n", "b\u2028b", subset="broken list"),
]


def test_rows_have_rewardbench_columns_and_types() -> None:
    assert bench_rows([PLAIN, PLAIN])[1] == {
        "prompt": "When do you open?", "chosen": "At nine.", "rejected": "Who knows.", "subset": "overall", "id": 1,
    }  # fmt: skip


@pytest.mark.parametrize("pairs", [[PLAIN], [PLAIN, *ODD[:2]], [ODD[1]]])
def test_every_conversation_and_every_response_is_read_back_as_it_was(pairs: list[DecidedPair], tmp_path: Path) -> None:
    rows = bench_rows(pairs)
    assert len({type(row["prompt"]) for row in rows}) == 1
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = [(one.prompt.messages, one.responses, one.num_chosen, one.subset) for one in read_bench(path)]
    assert read == [(pair.messages, (pair.chosen, pair.rejected), 1, pair.subset) for pair in pairs]


def test_a_prompt_that_looks_like_a_broken_list_is_never_a_bare_text() -> None:
    assert isinstance(bench_rows([ODD[2]])[0]["prompt"], list)
