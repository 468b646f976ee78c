"""A model back to what it was made of, and a principle or a decision on to what was made of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_world import make_world
from lineage_world import find_preference, keep_round, make_trained

from rlaif.audit.influence import follow_decision, follow_principle
from rlaif.audit.lineage import trace_model, trace_round
from rlaif.audit.lineage_view import influence_view, lineage_view
from rlaif.errors import InputError
from rlaif.ledger.store import Ledger
from rlaif.models.weights.model_folder import digest_folder, find_model_folder
from rlaif.records import Model, ModelObserved, PolicyCard, Use

WORLDS = [make_world(0), make_world(1)]
FIRST = make_trained(0)
SECOND = make_trained(1, before=FIRST)
DESK = Path(__file__).parents[2] / "rlaif" / "frontdesk" / "policy"


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for number, (world, trained) in enumerate(zip(WORLDS, (FIRST, SECOND), strict=True)):
            keep_round(ledger, world, trained, number=number)
        yield ledger


def held_out_none(run: str) -> float | None:
    return 0.0


def test_a_round_is_made_of_itself_and_of_all_rounds_before_it(ledger: Ledger) -> None:
    newest, first = trace_round(ledger, "loop"), trace_round(ledger, "loop", 0)
    assert [one.round for one in newest.rounds] == [0, 1]
    assert [one.round for one in first.rounds] == [0]
    assert (newest.head.seq, newest.head.hex) == ledger.head()


def test_a_round_counts_what_its_stages_used_by_what_it_is(ledger: Ledger) -> None:
    world = WORLDS[0]
    (one,) = trace_round(ledger, "loop", 0).rounds
    assert (one.prompts, one.samples) == ({"test": 1}, {f"policy ({world.samples[0].policy_id[:12]})": 2})
    assert (one.comparisons, one.preferences, one.failed) == ({"brief": 1}, {"judge": 1}, {"unparsable": 1})
    (judge,) = one.judges
    assert (judge.judge_id, judge.num_judgements, judge.is_imported) == (world.judge.id, 2, False)
    assert judge.template_digest == world.template.digest
    assert (one.constitution_id, one.constitution_digest) == (world.constitution.id, world.constitution.file_digest)
    assert [(p.id, p.weight, p.digest) for p in one.principles] == [
        ("brief", 1.0, world.constitution.principles[0].digest)
    ]
    assert [(m.kind, m.card_id) for m in one.models] == [
        ("reward model", FIRST.reward_card.id), ("policy", FIRST.policy_card.id),
    ]  # fmt: skip


def test_what_a_stage_used_before_it_was_made_again_does_not_count(ledger: Ledger) -> None:
    ledger.make_again("loop", 1, "4_preferences")
    assert trace_round(ledger, "loop").rounds[1].preferences == {}
    found = follow_principle(ledger, "brief", find_fraction=held_out_none)
    assert [one.num_preferences for one in found.rounds if one.run == "loop"] == [1, 0]


def test_a_run_or_a_round_that_is_not_there_is_refused_with_those_that_are(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="in round 7.*its rounds are 0, 1"):
        trace_round(ledger, "loop", 7)
    with pytest.raises(InputError, match="run other used nothing"):
        trace_round(ledger, "other")


def test_a_copy_of_a_model_is_known_by_its_weights_and_its_readme_is_compared_with_the_chain(
    ledger: Ledger, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in DESK.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = digest_folder(find_model_folder(str(folder))).weights
    model = Model(engine="transformers", weights=weights, observed=ModelObserved(name="runs/loop/model"))
    card = PolicyCard(model_id=model.id, reference_model_id="r", reward_model_id="elsewhere", config={}, metrics={})
    used = Use(run="loop", round=1, stage="6_policy", record_table=card.table, record_id=card.id)
    ledger.append([model, card, used])
    head = ledger.head()
    (folder / "README.md").write_text(f"The ledger's head was `{head.hex}`, row {head.seq}: see\n")
    found = trace_model(ledger, folder)
    assert found.model is not None
    assert (found.model.card_id, found.model.round, found.is_same_weights) == (card.id, 1, True)
    assert found.card_head is not None
    assert found.card_head.is_in_chain
    assert found.given == ("the reward model elsewhere, which this run did not train",)
    assert [one.round for one in found.rounds] == [0, 1]
    (folder / "README.md").write_text(f"The ledger's head was `{'0' * 64}`, row {head.seq}: see\n")
    changed = trace_model(ledger, folder)
    assert changed.card_head is not None
    assert not changed.card_head.is_in_chain


def test_a_folder_whose_model_no_card_is_about_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="no card in this ledger is about the model"):
        trace_model(ledger, DESK)


def test_a_principle_leads_to_every_round_and_model_that_it_helped_to_make(ledger: Ledger) -> None:
    found = follow_principle(ledger, "brief", find_fraction=held_out_none)
    (wording,) = found.wordings
    assert (wording.text, wording.num_comparisons) == ("Prefer the shorter reply.", 2)
    loop = [one for one in found.rounds if one.run == "loop"]
    assert [(one.round, one.num_judgements, one.num_comparisons, one.num_preferences) for one in loop] == [
        (0, 2, 1, 1), (1, 2, 1, 1),
    ]  # fmt: skip
    assert [(one.num_train, one.num_held_out, one.weight) for one in loop] == [(1, 0, 1.0), (1, 0, 1.0)]
    assert [(one.model.kind, one.model.round, one.how) for one in found.models] == [
        ("reward model", 0, "trained on 1 preference"),
        ("policy", 0, "trained against that reward model"),
        ("reward model", 1, "trained on 2 preferences"),
        ("policy", 1, "trained against that reward model and trained from that policy"),
    ]


def test_a_decision_of_the_second_round_did_not_make_the_models_of_the_first(ledger: Ledger) -> None:
    for record in (WORLDS[1].comparison, WORLDS[1].judgements[0], find_preference(WORLDS[1])):
        found = follow_decision(ledger, record.id, find_fraction=held_out_none)
        assert [(one.model.kind, one.model.round) for one in found.models] == [("reward model", 1), ("policy", 1)]
        (loop,) = [one for one in found.rounds if one.run == "loop"]
        assert loop.preference_ids == (find_preference(WORLDS[1]).id,)


def test_preferences_of_held_out_prompts_are_not_trained_on(ledger: Ledger) -> None:
    keep_round(ledger, make_world(2), make_trained(2), number=0, run="other")
    keep_round(ledger, make_world(3), make_trained(2), number=0, run="other")
    found = follow_principle(ledger, "brief", find_fraction=lambda run: 1.0)  # one prompt is always left for training
    (other,) = [one for one in found.rounds if one.run == "other"]
    assert (other.num_train, other.num_held_out) == (1, 1)
    unknown = follow_principle(ledger, "brief", find_fraction=lambda run: None)
    assert {one.num_train for one in unknown.rounds if one.num_preferences} == {None}
    assert "which says it, is not there" in unknown.models[0].how


def test_a_reward_model_of_the_users_own_preferences_was_not_made_of_the_runs(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "given.sqlite") as ledger:
        keep_round(ledger, WORLDS[0], make_trained(0, given="ultra.parquet"), number=0)
        assert follow_principle(ledger, "brief", find_fraction=held_out_none).models == ()


def test_a_policy_that_learnt_preferences_without_a_reward_model_was_made_of_them(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "dpo.sqlite") as ledger:
        keep_round(ledger, WORLDS[0], make_trained(0, method="dpo"), number=0)
        found = follow_principle(ledger, "brief", find_fraction=held_out_none).models
    assert [(one.model.kind, one.how) for one in found] == [
        ("reward model", "trained on 1 preference"), ("policy", "trained on 1 preference"),
    ]  # fmt: skip


def test_a_judgement_that_was_a_reward_leads_to_the_policy_alone(ledger: Ledger) -> None:
    judgement = WORLDS[0].judgements[0]
    use = Use(
        run="loop", round=1, stage="6_policy", record_table=judgement.table, record_id=judgement.id,
        constitution_id=WORLDS[0].constitution.id,
    )  # fmt: skip
    ledger.append([use])
    found = follow_decision(ledger, judgement.id, find_fraction=held_out_none)
    assert [one.how for one in found.models if one.model.kind == "policy" and one.model.round == 1] == [
        "trained against that reward model, 1 judgement while it was trained and trained from that policy"
    ]


def test_a_principle_that_no_decision_is_under_is_refused_with_those_that_there_are(ledger: Ledger) -> None:
    with pytest.raises(InputError, match='did you mean "brief"'):
        follow_principle(ledger, "breif", find_fraction=held_out_none)


def test_both_views_name_the_head_of_the_ledger_last(ledger: Ledger) -> None:
    head = f"{ledger.head().seq} {ledger.head().hex}"
    for view in (
        lineage_view(trace_round(ledger, "loop")),
        influence_view(follow_principle(ledger, "brief", find_fraction=held_out_none)),
    ):
        assert view[-1].title == "ledger"
        assert view[-1].facts[-1].text == head


def test_the_text_of_a_redacted_principle_is_named_as_redacted(ledger: Ledger) -> None:
    digest = WORLDS[0].constitution.principles[0].digest
    ledger.redact_text(digest, reason="secret", author="ann", at="")
    found = follow_principle(ledger, "brief", find_fraction=held_out_none)
    assert found.wordings[0].text is None
    assert influence_view(found)[0].facts[0].text.startswith("[redacted]")
