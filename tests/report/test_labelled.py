"""What "People and the judge" is computed from: items that could be drawn, labels of evaluations, no labels."""

from __future__ import annotations

from collections.abc import Callable

from rlaif.calibration.judged import JudgedPair
from rlaif.evaluation.policy import PolicyPair
from rlaif.records import CalibrationCard, Constitution, HumanLabel, Preference, Prompt, Sample, SamplingParams
from rlaif.report.labelled import LabelledRound, choose_for_trained, collect_people

PROMPT = Prompt.from_chat([{"role": "user", "content": "When?"}], source="test")


def sample(text: str, *, policy: str = "start", round: int = 0, index: int = 0) -> Sample:
    return Sample(
        prompt_id=PROMPT.id, policy_id=policy, params=SamplingParams(), round=round, index=index, finish_reason="stop",
        token_count=1, text=text,
    )  # fmt: skip


def round_of(pairs: list[tuple[Sample, Sample]], card: CalibrationCard, constitution: Constitution) -> LabelledRound:
    """A round whose judge prefers the first of each pair, and in which the second is trained on as preferred."""
    keys = [(pair[0].id, pair[1].id) for pair in pairs]
    return LabelledRound(
        number=0,
        card=card,
        labels=(),
        judged={(key, "overall"): JudgedPair(0.9, 2.2) for key in keys},
        samples={one.id: one for pair in pairs for one in pair},
        prompts={PROMPT.id: PROMPT},
        preferences=[
            Preference(prompt_id=PROMPT.id, sample_ids=key, label=0.2, evidence_ids=(), round=0) for key in keys
        ],
        reward_model=None,
        constitution=constitution,
        is_scaled=True,
    )


def test_an_item_could_be_drawn_where_its_texts_differ_and_its_round_is_meant(
    calibration_of: Callable[..., CalibrationCard], constitution: Constitution
) -> None:
    pairs = [
        (sample("one two", index=1), sample("one", index=2)),
        (sample("same", index=3), sample("same", index=4)),
        (sample("later", round=1, index=5), sample("late", round=1, index=6)),
    ]
    labelled = round_of(pairs, calibration_of(), constitution)
    first = ((pairs[0][0].id, pairs[0][1].id), "overall")
    assert labelled.find_drawable({0}) == {first: PROMPT.id}
    assert labelled.find_drawable({0}, names={"brief"}) == {}
    assert len(labelled.find_drawable({0, 1})) == 2


def test_a_calibration_by_labels_of_another_run_shows_what_it_changed_and_no_agreement(
    calibration_of: Callable[..., CalibrationCard], constitution: Constitution
) -> None:
    pairs = [(sample("one two three", index=1), sample("one", index=2))]
    people = collect_people(
        round_of(pairs, calibration_of(), constitution), held_out=[], measures={}, moved={}, pairs=[], prompts={}
    )
    assert people.agreement is None
    assert people.accuracy is None
    assert people.effect is not None
    assert people.effect.num_pairs == 1
    (words,) = people.leanings
    assert words.name == "words"
    assert round(words.labels.mean_before, 6) == round((2 * 0.9 - 1) * 2, 6)
    assert round(words.labels.mean_after, 6) == round((2 * 0.2 - 1) * 2, 6)


def test_labels_of_an_evaluation_are_seen_from_the_trained_policy_whatever_was_shown_first() -> None:
    pair = PolicyPair(sample("one"), sample("two", policy="trained"))
    ids = pair.start.id, pair.trained.id

    def label(annotator: str, choice: str, *, shown: tuple[str, str], **more: object) -> HumanLabel:
        return HumanLabel.model_validate(
            {
                "annotator": annotator, "prompt_id": PROMPT.id, "sample_ids": shown, "choice": choice,
                "inclusion_probability": 0.25, **more,
            }
        )  # fmt: skip

    labels = [
        label("ann", "first", shown=(ids[1], ids[0])),
        label("ben", "tie", shown=ids),
        label("eve", "first", shown=ids, principle_id="brief"),
        label("dan", "first", shown=ids, inclusion_probability=None),
        label("kim", "first", shown=("other", ids[0])),
    ]
    assert choose_for_trained(labels, [pair]) == {ids: (0.75, 0.25)}
