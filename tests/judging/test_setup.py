"""What earlier attempts of a run have paid."""

import pytest

from rlaif.judging.question_log import LOG_NAME
from rlaif.judging.setup import find_spent
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Spending


@pytest.mark.parametrize(
    ("listed", "spent"),
    [
        ("", Spending()),
        ("a\nb\na\n", Spending(2)),  # as an older version wrote it: a call for each question without a trace
        ("a 10 0.5\na 12 0.5\nb 10 0.5\n", Spending(3, 34, 1.5)),
        ("a 10 0.5\na unsent\nb batch\n", Spending()),
    ],
)
def test_what_was_sent_and_left_no_trace_counts_with_the_most_that_it_may_have_cost(tmp_path, listed, spent):
    folder = tmp_path / "round_00" / "3_judgements"
    folder.mkdir(parents=True)
    (folder / LOG_NAME).write_text(listed)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert find_spent(ledger, [folder]) == spent
