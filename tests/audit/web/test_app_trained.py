"""The pages about trainings, models and two runs beside each other, over two recorded runs with made-up trainings."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

import pytest
from audit_pages import owner
from ledger_world import make_world
from lineage_world import keep_round, make_trained
from recorded_run import make_recorded_run
from starlette.testclient import TestClient
from trained_runs import TrainedRuns, count_decided, make_trained_runs

from rlaif.audit.lineage import trace_round
from rlaif.ledger.store import Ledger
from rlaif.records import Preference


def words(page: str) -> str:
    """The text that a page shows."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> TrainedRuns:
    return make_trained_runs(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def client(runs: TrainedRuns) -> TestClient:
    return owner(runs.runs_dir)


def test_a_training_shows_curves_alarms_and_what_the_policy_said(client: TestClient) -> None:
    page = client.get("/runs/001/round/0/training").text
    said = words(page)
    assert "0.00 \u2192 0.60, 4 steps" in said, "the reward, from the rows of metrics.jsonl"
    assert "0.70 \u2192 0.20, 6 steps" in said, "the reward model's loss"
    assert "Alarm after 4 steps: the KL is 21.0 nats per response, above 20; training stops" in said
    assert "Stopped early: the KL is 21.0" in said
    assert "The policy after 2 of 4 steps is the one that was kept." in said
    assert 'class="mark alarm"' in page
    assert "said after 0" in said
    assert "said after 4" in said
    assert "<script>ran" not in page
    assert "{{ 7 * 7 }}" in page
    assert "No alarm was raised" in words(client.get("/runs/002/round/0/training").text)


def test_a_measure_stands_over_the_kl_of_each_evaluation(client: TestClient) -> None:
    page = client.get("/runs/001/round/0/training").text
    (chart,) = re.findall(r'<svg role="img" aria-labelledby="worth-0-t.*?</svg>', page)
    assert "0.0 nats: +50 (3); 10.0 nats: +52 (3); 20.0 nats: +54 (3)" in chart
    assert "50 \u2192 54 at 20.0 nats means as the training wrote them, without intervals; 3 prompts each" in words(
        page
    )


def test_a_training_links_to_its_models_and_the_models_to_it(client: TestClient, runs: TrainedRuns) -> None:
    page = client.get("/runs/002/round/0/training").text
    policy = runs.policies["002"].model_id
    assert f'href="/policies/{policy}"' in page
    assert 'href="/runs/002/round/0/training"' in client.get(f"/policies/{policy}").text
    assert 'href="/runs/002/round/0/training"' in client.get("/runs/002").text


def test_models_are_listed_the_newest_first_with_what_was_measured(client: TestClient, runs: TrainedRuns) -> None:
    page = client.get("/policies").text
    ids = [runs.trained[run].policy.id[:12] for run in ("002", "001")]
    assert page.index(ids[0]) < page.index(ids[1])
    said = words(page)
    assert said.count("62.5") == 2
    assert said.count("80.0") == 2
    assert "Stopped early: the KL is 21.0" in said


def test_a_policy_is_followed_back_to_its_preferences_and_on_to_later_models(
    client: TestClient, runs: TrainedRuns
) -> None:
    first, second = (runs.policies[run].model_id for run in ("001", "002"))
    page = client.get(f"/policies/{first[:16]}").text
    said = words(page)
    assert "win rate over the start 62.5" in said
    assert "Policy " + second[:12] + " of run 002 , round 0: trained from" in said
    with Ledger.open(runs.runs_dir / "ledger.sqlite", read_only=True) as ledger:
        (traced,) = trace_round(ledger, "001").rounds
        used = {record.id for record in ledger.used("001", 0, "4_preferences", Preference)}
    assert f"preferences {sum(traced.preferences.values())}: {traced.preferences['judge']} by judge" in said
    assert f"{traced.judges[0].num_judgements} judgements in stage 3_judgements, imported verdicts" in said
    assert traced.constitution_digest in said
    shown = re.findall(r'href="/decision/([0-9a-f]{32})"', page)
    assert shown
    assert set(shown) <= used
    assert runs.trained["001"].reward_model.id in re.findall(r'href="/policies/([0-9a-f]+)"', page)
    decision = client.get(f"/decision/{shown[0]}").text
    assert f'href="/policies/{runs.trained["001"].reward_model.id}"' in decision


def test_a_card_opens_the_model_it_is_about(client: TestClient, runs: TrainedRuns) -> None:
    card = runs.policies["001"]
    assert card.model_id in client.get(f"/policies/{card.id}").text


def test_rounds_stand_beside_each_other_and_a_model_leads_to_the_next_round(tmp_path: Path) -> None:
    first = make_trained(0)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        keep_round(ledger, make_world(0), first, number=0)
        keep_round(ledger, make_world(1), make_trained(1, before=first), number=1)
    client = owner(tmp_path)
    said = words(client.get("/compare?one=loop/0&other=loop/1").text)
    assert "From run loop , round 0, to run loop , round 1" in said
    assert "They decided no pair of the same replies" in said
    assert "Made of round 1" in (said := words(client.get(f"/policies/{make_trained(1, before=first).policy.id}").text))
    assert "Made of round 0" in said
    assert "round 1: trained from" in words(client.get(f"/policies/{first.policy.id}").text)


def test_two_runs_are_compared_pair_by_pair_and_each_difference_opens_both_decisions(
    client: TestClient, runs: TrainedRuns
) -> None:
    page = client.get("/compare?one=001&other=002").text
    said = words(page)
    same, differ = count_decided(runs.folder)
    assert min(same, differ) > 5
    assert f"kind 40 {same} {differ}" in said
    assert f"over all principles 40 {same} {differ}" in said
    links = re.findall(r'<td class="number" data-label="([^"]+)"><a href="/decision/([0-9a-f]{32})">', page)
    assert {label for label, _ in links} == {"001, round 0", "002, round 0"}
    opened = [words(client.get(f"/decision/{key}").text) for _, key in links[:2]]
    assert "Run 001 , round 0" in opened[0]
    assert "Run 002 , round 0" in opened[1]


def test_two_runs_are_compared_by_constitution_settings_and_measures(client: TestClient) -> None:
    said = words(client.get("/compare?one=001&other=002").text)
    assert "No principle differs" in said
    assert "win rate over the start 62.5" in said
    assert said.count("kind, trained policy 61 56 to 66, 20 prompts change +11 (+6 to +16)") == 1
    assert said.count("change +11 (+6 to +16)") == 2, "of both runs"
    assert "the contents of" in said, "the recorded files are others"
    assert re.search(r"preferences \d+ of 40 pairs", said)


def test_prompts_are_compared_so_many_at_a_time(runs: TrainedRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlaif.audit.two_decisions.PROMPTS_COMPARED", 7)
    client = owner(runs.runs_dir)
    address, seen, both = "/compare?one=001&other=002", 0, 0
    while address:
        page = client.get(address).text
        seen += 1
        both += sum(int(count) for count in re.findall(r"kind (\d+) \d+ \d+", words(page)))
        found = re.search(r'<a href="([^"]*)" rel="next">', page)
        address = html.unescape(found[1]) if found else ""
    assert (seen, both) == (3, 40), "20 prompts, 7 on a page"


def test_two_runs_are_chosen_on_the_first_page(client: TestClient) -> None:
    page = client.get("/").text
    assert re.search(r'<form[^>]*action="/compare"', page)
    assert page.count('<option value="001"') == 2


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("/runs/009/round/0/training", 'there is no run "009"'),
        ("/runs/001/round/3/training", "round 3 of run 001 has trained nothing yet"),
        ("/policies/ffff", "no reward model and no policy of this ledger has an id that begins with ffff"),
        ("/policies/%3Cb%3E", '"<b>" is no id'),
        ("/policies?before=x", '"x" is no place in the list'),
        ("/policies?colour=red", 'there is no filter "colour"'),
        ("/compare?one=001&other=009", 'no run "009" used a decision in this ledger'),
        ("/compare?one=001/9&other=002", "run 001 has no round 9"),
        ("/compare?one=001/x&other=002", '"001/x" names no round of a run'),
        ("/compare?one=001&other=002&after=x", '"x" is no place in the list'),
        ("/compare?colour=red", 'there is no filter "colour"'),
    ],
)
def test_what_is_not_there_is_a_page_that_says_what_to_do(client: TestClient, address: str, sentence: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 400
    assert sentence in words(answer.text)
    assert "To the first page" in answer.text


def test_a_run_that_trained_nothing_says_so_and_lists_no_model(tmp_path: Path) -> None:
    client = owner(make_recorded_run(tmp_path, pairs=4))
    assert "Nothing was trained here yet" in words(client.get("/policies").text)
    assert "has trained nothing yet" in words(client.get("/runs/001/round/0/training").text)


def test_a_training_that_is_under_way_shows_its_curves_so_far(runs: TrainedRuns, tmp_path: Path) -> None:
    folder = shutil.copytree(runs.runs_dir, tmp_path / "runs")
    metrics = folder / "001" / "metrics.jsonl"
    kept = [line for line in metrics.read_text().splitlines() if '"policy' not in line]
    metrics.write_text("\n".join(kept) + "\n")
    (folder / "001" / "round_00" / "6_policy" / "evaluations.jsonl").unlink()
    said = words(owner(folder).get("/runs/001/round/0/training").text)
    assert "No training curve of a policy was found" in said
    assert "This training kept no responses" in said
    assert "0.70 \u2192 0.20, 6 steps" in said


def test_where_a_runs_folder_is_gone_the_ledger_still_compares(runs: TrainedRuns, tmp_path: Path) -> None:
    ledger = shutil.copy(runs.runs_dir / "ledger.sqlite", tmp_path / "copy.sqlite")
    said = words(owner(tmp_path, ledger=Path(ledger)).get("/compare?one=001&other=002").text)
    assert "A run's folder is not there to say it" in said
    same, differ = count_decided(runs.folder)
    assert f"kind 40 {same} {differ}" in said
