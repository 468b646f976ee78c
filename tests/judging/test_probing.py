"""A constitution and a configured judge -> what the judge made of it."""

import json
from pathlib import Path

import pytest
from ranking_template import write_ranking

from rlaif.config.generate import JudgeConfig, JudgeModelConfig
from rlaif.constitution.principles import parse_constitution
from rlaif.constitution.probe_file import PROBE_FILE
from rlaif.errors import ConstitutionError, DataError, InputError, ModelError
from rlaif.frontdesk import JUDGE_DIR
from rlaif.judging.probing import probe_judge
from rlaif.records.constitution import Example

SOURCE = """name: mine
principles:
  - {id: polite, text: Prefer the reply that is polite., tags: [courteous]}
  - {id: idle, text: The better reply is brief., weight: 0}
"""
FRONTDESK_JUDGE = JudgeConfig(template="frontdesk_pair")


def write_probes(path: Path, *, n: int) -> Path:
    """Pairs that contrast in everything, as the front desk's judge brings them."""
    lines = (JUDGE_DIR / PROBE_FILE).read_text().splitlines()
    general = [line for line in lines if not json.loads(line).get("only")]
    path.write_text("".join(line + "\n" for line in general[:n]))
    return path


@pytest.fixture
def constitution():
    return parse_constitution(SOURCE, where="mine.yaml")


def test_the_users_own_pairs_are_asked_and_a_principle_without_weight_is_not(constitution, tmp_path, capsys):
    probing = probe_judge(constitution, config=FRONTDESK_JUDGE, probes=write_probes(tmp_path / "own.jsonl", n=9))
    [reading] = probing.readings
    assert (reading.principle.id, reading.num_pairs, reading.num_right, reading.num_flipped) == ("polite", 9, 9, 0)
    assert probing.why_not == ""
    assert "1 principles x 9 pairs x 2 orders = 18 questions" in capsys.readouterr().err


def with_examples(constitution, *, n: int, is_swapped: bool = False):
    """The first principle with examples from the pairs of the front desk's judge whose courteous reply is known."""
    rows = [json.loads(line) for line in (JUDGE_DIR / PROBE_FILE).read_text().splitlines()]
    examples = []
    for row in [row for row in rows if row.get("expected", {}).get("courteous")][:n]:
        replies = (row["first"], row["second"])
        is_first = (row["expected"]["courteous"] == "first") != is_swapped
        good, bad = replies if is_first else replies[::-1]
        examples.append(Example(prompt=row["prompt"][-1]["content"], good=good, bad=bad))
    first, *rest = constitution.principles
    return constitution.changed(principles=(first.model_copy(update={"examples": tuple(examples)}), *rest))


def test_a_principles_own_examples_are_asked_before_the_pairs_in_the_judges_folder(constitution, capsys):
    probing = probe_judge(with_examples(constitution, n=10), config=FRONTDESK_JUDGE)
    [reading] = probing.readings
    assert (reading.num_pairs, reading.num_right, reading.is_by_examples) == (10, 10, True)
    assert reading.find_fault() is None
    assert "10 examples of 1 principles x 2 orders = 20 questions" in capsys.readouterr().err


def test_examples_whose_good_and_bad_replies_are_exchanged_are_found(constitution):
    probing = probe_judge(with_examples(constitution, n=10, is_swapped=True), config=FRONTDESK_JUDGE)
    assert probing.readings[0].find_fault() == "backwards"


def test_the_users_own_pairs_are_asked_before_a_principles_examples(constitution, tmp_path):
    pairs = write_probes(tmp_path / "own.jsonl", n=9)
    [reading] = probe_judge(with_examples(constitution, n=10), config=FRONTDESK_JUDGE, probes=pairs).readings
    assert (reading.num_pairs, reading.is_by_examples) == (9, False)


def test_words_alone_are_checked_without_loading_the_judge(constitution, capsys):
    probing = probe_judge(constitution, config=FRONTDESK_JUDGE, ask=False)
    assert (probing.readings, probing.why_not) == ([], "--no-probe")
    assert probing.vocabulary is not None
    assert "loading the judge" not in capsys.readouterr().err


def test_what_is_wrong_is_refused_before_the_judge_is_loaded(constitution, tmp_path, capsys):
    unknown = parse_constitution(SOURCE.replace("polite.", "sarcastic."), where="mine.yaml")
    with pytest.raises(ConstitutionError, match="sarcastic"):
        probe_judge(unknown, config=FRONTDESK_JUDGE)
    with pytest.raises(DataError, match="3 probe pairs say little"):
        probe_judge(
            constitution,
            config=FRONTDESK_JUDGE,
            probes=write_probes(tmp_path / "few.jsonl", n=3),
        )
    with pytest.raises(InputError, match="ranks several replies"):
        probe_judge(
            constitution,
            config=JudgeConfig(template=write_ranking(tmp_path / "rank.j2")),
            probes=write_probes(tmp_path / "own.jsonl", n=9),
        )
    with pytest.raises(ModelError):
        probe_judge(constitution, config=JudgeConfig(model=JudgeModelConfig(path=str(tmp_path))))
    assert "loading the judge" not in capsys.readouterr().err
