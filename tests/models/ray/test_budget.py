"""Questions for workers are drawn as far as the caps go; the package that is missing is named with its remedy."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from rlaif.config.scale import ScaleConfig
from rlaif.errors import StageError
from rlaif.judging.questions import GREEDY
from rlaif.models.budget import Budget, Spending
from rlaif.models.interface import ScoreRequest, StreamingGenerator, StreamingScorer
from rlaif.models.ray.engine import Described, RayGenerator, RayScorer, _Drawing
from rlaif.records import Model, Segment, SegmentedMessage

DESCRIBED = Described(Model(engine="scripted", weights="w"), 100, lambda chat: 5)


def drawing(num: int, budget: Budget, *, batch_size: int = 4, tokens: int = 0) -> _Drawing:
    asked = ((f"q{n}", (SegmentedMessage("user", (Segment(str(n), False),)),)) for n in range(num))
    return _Drawing(asked, budget=budget, batch_size=batch_size, bound=lambda chat: Spending(1, tokens))


def keys(drawn) -> list[str]:
    return [] if drawn is None else [key for key, _ in drawn[0]]


def test_questions_go_in_batches_and_the_last_one_is_smaller():
    batches = drawing(6, Budget())
    assert [keys(batches.draw()) for _ in range(3)] == [["q0", "q1", "q2", "q3"], ["q4", "q5"], []]
    assert batches.refusal is None


def test_a_cap_cuts_a_batch_short_and_what_was_under_way_may_turn_out_cheaper():
    budget = Budget(max_tokens=100)
    batches = drawing(4, budget, tokens=40)
    assert keys(batches.draw()) == ["q0", "q1"]
    assert batches.draw() is None
    assert batches.refusal is None, "two are under way, and may cost less than was set aside"
    budget.settle(Spending(1, 40), used=Spending(1, 10))
    budget.settle(Spending(1, 40), used=Spending(1, 10))
    assert keys(batches.draw()) == ["q2", "q3"]
    assert budget.spent == Spending(2, 20)


def test_what_is_drawn_and_not_put_into_a_batch_is_on_no_list():
    class Noted(list):
        def write(self, key, bound):
            self.append((key, bound))

    noted = Noted()
    batches = drawing(4, Budget(max_calls=2))
    batches._log = noted
    assert keys(batches.draw()) == [key for key, _ in noted] == ["q0", "q1"]


def test_a_cap_that_is_reached_ends_the_stream_with_its_sentence():
    budget = Budget(max_calls=2)
    batches = drawing(4, budget)
    assert keys(batches.draw()) == ["q0", "q1"]
    for _ in range(2):
        budget.settle(Spending(1), used=Spending(1, 7))
    assert batches.draw() is None
    assert isinstance(batches.refusal, StageError)
    assert "judge.max_calls of 2" in batches.refusal.sentence


def test_a_judge_on_workers_streams_and_asks_what_a_local_one_is_asked():
    scale = ScaleConfig(engine="ray")
    scorer = RayScorer(DESCRIBED, make_engine=int, scale=scale, budget=Budget(), batch_tokens=99)
    assert isinstance(scorer, StreamingScorer)
    assert (scorer.decoding, scorer.num_votes) == (GREEDY, 1)
    assert isinstance(RayGenerator(DESCRIBED, make_engine=int, scale=scale), StreamingGenerator)


def test_tokens_are_counted_only_where_they_are_capped():
    counted = []
    described = DESCRIBED._replace(count_tokens=lambda chat: counted.append(chat) or 5)
    request = ScoreRequest(":", ("A",), 30)
    for budget, expected in ((Budget(), Spending(1)), (Budget(max_tokens=9), Spending(1, 5 + 1 + 30 + 1))):
        scorer = RayScorer(described, make_engine=int, scale=ScaleConfig(), budget=budget, batch_tokens=99)
        assert scorer._bound(request)(()) == expected
    assert len(counted) == 1


def test_an_address_through_the_ray_client_is_refused_with_the_way_out():
    with pytest.raises(ValidationError, match="address: auto"):
        ScaleConfig(address="ray://head:10001")


def test_without_the_package_the_command_says_what_to_install(tmp_path):
    """A real process in which importing ray fails, as where it is not installed."""
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from rlaif.cli import main\n"
        "sys.argv = ['rlaif', 'generate-prefs', '--engine', 'ray', '--set', 'prompts.num_prompts=2']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert '[ray]"' in done.stderr
    assert not (tmp_path / "runs" / "001").exists(), "nothing was begun"
