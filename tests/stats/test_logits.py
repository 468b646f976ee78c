"""The one sigmoid, and the one rule that makes a label of several: exact when the responses are exchanged."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.stats.logits import (
    canonical_pair,
    cross_entropy,
    entropy,
    log_odds,
    mean_label,
    share_of_lead,
    sigmoid,
    sigmoids,
)

PACKAGE = Path(__file__).parents[2] / "rlaif"

LOGIT = st.floats(-300, 300)
LABEL = LOGIT.map(lambda x: (sigmoid(x), x)) | st.floats(0, 1).map(lambda p: (p, None))
WEIGHT = st.floats(0.01, 100)
WEIGHED = st.lists(st.tuples(LABEL, WEIGHT), min_size=1, max_size=6)
Label = tuple[float, float | None]


def exchanged(label: Label) -> Label:
    return 1 - label[0], None if label[1] is None else -label[1]


@given(st.floats(allow_nan=False))
def test_a_sigmoid_and_that_of_the_negative_sum_to_exactly_one(x: float) -> None:
    assert sigmoid(x) + sigmoid(-x) == 1.0
    [p, rest] = sigmoids(np.array([x, -x]))
    assert p + rest == 1.0
    assert p == pytest.approx(sigmoid(x), abs=1e-15)


@given(LOGIT)
def test_a_sigmoid_is_the_inverse_of_the_odds_and_one(x: float) -> None:
    assert sigmoid(x) == pytest.approx(1 / (1 + math.exp(-x)), abs=1e-15)


def is_sigmoid(node: ast.AST) -> bool:
    """1 / (1 + exp(...)), (1 + tanh(...)) / 2, or a function of that name."""
    if isinstance(node, ast.FunctionDef):
        return "sigmoid" in node.name
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Mult)):
        return False
    sums = [side for side in (node.left, node.right) if isinstance(side, ast.BinOp) and isinstance(side.op, ast.Add)]
    return any(
        isinstance(one, ast.Constant) and one.value == 1 and isinstance(call, ast.Call)
        and ast.unparse(call.func).rpartition(".")[2] in ("exp", "tanh")
        for found in sums
        for one, call in ((found.left, found.right), (found.right, found.left))
    )  # fmt: skip


@pytest.mark.parametrize(
    "source", ["p = 1 / (1 + math.exp(-x))", "0.5 * (1 + np.tanh(x / 2))", "def _sigmoid(x): ...", "e / (exp(x) + 1.0)"]
)
def test_a_copy_of_the_sigmoid_is_known_when_seen(source: str) -> None:
    assert any(map(is_sigmoid, ast.walk(ast.parse(source))))
    assert not any(map(is_sigmoid, ast.walk(ast.parse("x = 1 / (1 + math.log(2)); y = 1 / (1 + n)"))))


def test_no_other_file_has_a_sigmoid() -> None:
    """The front desk's truth is drawn with its own. A scripted judge is known by its module's text, which must stay."""
    copies = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(map(is_sigmoid, ast.walk(ast.parse(path.read_text(encoding="utf-8")))))
    }
    others = {name for name in copies if not name.startswith("frontdesk/")}
    assert others == {"stats/logits.py", "models/scripted_engine.py"}


@given(st.floats(0, 1), st.floats(-30, 30))
def test_cross_entropy_is_lowest_at_the_label_where_it_is_the_entropy(label: float, logit: float) -> None:
    lowest = entropy((label, 1 - label))
    assert cross_entropy(label, logit) >= lowest - 1e-12
    assert cross_entropy(label, log_odds(label, least=1e-15)) == pytest.approx(lowest, abs=1e-12)


@given(st.text(), st.text())
def test_a_pair_is_the_same_whichever_id_comes_first(one: str, other: str) -> None:
    assert canonical_pair(one, other) == canonical_pair(other, one) == tuple(sorted((one, other)))


@given(st.floats(-0.5, 0.5))
def test_the_shares_of_a_lead_and_of_its_negative_sum_to_exactly_one(lead: float) -> None:
    assert share_of_lead(lead) + share_of_lead(-lead) == 1.0


@given(st.floats(0, 1))
def test_the_log_odds_of_a_share_and_of_the_rest_are_exactly_opposite(p: float) -> None:
    rest = 1 - p
    assert log_odds(rest, least=1e-15) == -log_odds(1 - rest, least=1e-15)
    assert log_odds(0.9, least=1e-15) == pytest.approx(math.log(9))


@given(WEIGHED)
def test_exchanging_the_responses_in_every_label_exchanges_them_in_the_mean(rows: list[tuple[Label, float]]) -> None:
    labels, weights = [label for label, _ in rows], [weight for _, weight in rows]
    forth, back = mean_label(labels, weights=weights), mean_label(list(map(exchanged, labels)), weights=weights)
    assert forth[0] + back[0] == 1.0
    assert (forth[1] is None) == (back[1] is None) == any(logit is None for _, logit in labels)


@given(WEIGHED, st.floats(0, 50))
def test_the_mean_never_falls_when_one_of_its_labels_rises(rows: list[tuple[Label, float]], by: float) -> None:
    labels, weights = [label for label, _ in rows], [weight for _, weight in rows]
    p, logit = labels[0]
    risen = (min(1.0, p + by / 50), None) if logit is None else (sigmoid(logit + by), logit + by)
    before, after = mean_label(labels, weights=weights), mean_label([risen, *labels[1:]], weights=weights)
    assert after[0] >= before[0] - 1e-12


def test_labels_with_log_odds_average_them_and_beside_verdicts_their_probabilities() -> None:
    assert mean_label([(0.8, math.log(4)), (0.5, 0.0)], weights=[1, 1]) == (
        pytest.approx(2 / 3),
        pytest.approx(math.log(2)),
    )
    assert mean_label([(0.6, math.log(1.5)), (1.0, None)], weights=[1, 3]) == (pytest.approx(0.9), None)
