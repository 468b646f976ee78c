"""A small world for the tests of ledger and audit: one pair, judged in both orders, and every record behind it."""

from __future__ import annotations

from typing import NamedTuple

from rlaif.constitution.render import JudgeTemplate, rendered_digest, template_from_source
from rlaif.judging.questions import render_question
from rlaif.ledger.store import Ledger
from rlaif.records import (
    Agreement,
    CalibrationCard,
    CalibrationMap,
    Comparison,
    Constitution,
    Demonstration,
    Dispute,
    DrawnItem,
    EditItem,
    EditOutcome,
    EditTest,
    Estimate,
    EvaluationReport,
    FailedJudgement,
    HumanLabel,
    Judgement,
    Message,
    Model,
    ModelObserved,
    Observed,
    Panel,
    PolicyCard,
    Preference,
    Principle,
    PrincipleKey,
    Prompt,
    Question,
    Record,
    RewardModelCard,
    Sample,
    SamplingParams,
    SignOff,
    SpotCheck,
    Use,
    Verdict,
    VerdictLogprob,
)

TEMPLATE = """---
kind: pair
description: For tests.
system: ""
untrusted: [conversation, first, second]
trusted: [principle]
reason: {max_tokens: 48}
verdict_marker: "\\nVerdict:"
verdicts: {first: " A", second: " B"}
---
{{ conversation }}
Reply A: {{ first }}
Reply B: {{ second }}
Principle: {{ principle }}
"""


SIGN_OFF = SignOff(
    seq=1, head="0" * 64, signer="bea", at="2026-01-02T00:00:00Z", text="rlaif chain head v1\n", signature="signed\n"
)


class World(NamedTuple):
    template: JudgeTemplate
    prompt: Prompt
    samples: tuple[Sample, Sample]
    constitution: Constitution
    judge: Model
    questions: tuple[Question, Question]
    judgements: tuple[Judgement, Judgement]
    failure: FailedJudgement
    comparison: Comparison
    records: list[Record]
    """One or more of every record class, in the order in which a run would store them; a sign-off, whose text fits no
    chain, where the world is signed."""


def make_world(
    number: int = 0, *, verdicts: tuple[Verdict, Verdict] = ("first", "second"), is_signed: bool = False
) -> World:
    """The world of pair `number`, with these verdicts for the listed and for the swapped order."""
    template = template_from_source(TEMPLATE, name="test")
    prompt = Prompt(
        messages=(Message(role="user", content=f"Where is desk {number}? [red]{{{{ x }}}}"),),
        reference="upstairs",
        source="test",
        metadata={"tags": ["a", 1, None], "nested": {"é": 0.5}},
    )
    policy = Model(engine="scripted", weights="policy", observed=ModelObserved(name="./policy"))
    judge = Model(engine="scripted", weights="judge", observed=ModelObserved(name="./judge"))
    drawn = [
        Sample(
            prompt_id=prompt.id,
            policy_id=policy.id,
            params=SamplingParams(),
            seed=1,
            index=index,
            finish_reason="stop",
            token_count=3,
            text=f"reply {number}-{index}\nwith [/red] and {{{{ 1 }}}}",
            observed=Observed(at="2026-01-01T00:00:00Z", latency_s=0.25, reply_tokens=3),
        )
        for index in range(2)
    ]
    first, second = sorted(drawn, key=lambda sample: sample.id)
    principle = Principle(id="brief", text="Prefer the shorter reply.", weight=1.0)
    constitution = Constitution(name="short", principles=(principle,), source="name: short\n# é\n")
    asked = PrincipleKey(id=principle.id, text_digest=principle.digest)
    listed, swapped = (
        Question(
            mode="pair",
            prompt_id=prompt.id,
            sample_ids=(shown[0].id, shown[1].id),
            principles=(asked,),
            template_digest=template.digest,
            judge_id=judge.id,
            rendered_digest=rendered_digest(render_question(prompt, shown, principle, template=template)),
        )
        for shown in ((first, second), (second, first))
    )
    judgements = tuple(make_judgement(q.id, verdict) for q, verdict in zip((listed, swapped), verdicts, strict=True))
    failure = FailedJudgement(question_id=swapped.id, cause="unparsable", attempt=1, raw_reply=f"hm {number}")
    comparison = Comparison(
        prompt_id=prompt.id,
        sample_ids=(first.id, second.id),
        principle=asked,
        judge_id=judge.id,
        judgement_ids=(judgements[0].id, judgements[1].id),
        p_first=0.75,
        logit=1.0986,
        position_effect=0.5,
        flipped=verdicts[0] == verdicts[1],
        debiased=True,
    )
    label = HumanLabel(
        annotator="ann",
        prompt_id=prompt.id,
        sample_ids=(first.id, second.id),
        choice="first",
        seconds=4.5,
        inclusion_probability=0.1,
        note="clear",
    )
    spot_check = SpotCheck(
        sheet_id="0" * 32, runs=("001",), design="even", max_ratio=3.0, seed=7, guideline_digest="a" * 64,
        frame_digest="b" * 64, num_frame=10,
        items=(
            DrawnItem(
                item_id=f"item{number}", prompt_id=prompt.id, sample_ids=(first.id, second.id), principle_id="brief",
                stratum="brief, sureness 1 of 5", inclusion_probability=0.1, p_judge=0.6,
            ),
        ),
    )  # fmt: skip
    edit_test = EditTest(
        sheet_id="1" * 32, run="001", round=0, old_constitution_id="c" * 32, new_constitution_id="d" * 32,
        old_digest="c" * 64, new_digest="d" * 64, judge_ids=(judge.id,), template_digests=("e" * 64,),
        guideline_digest="a" * 64, seed=7, alpha=0.05, directions=("better", "worse"), budget=1,
        flips=(
            EditItem(
                item_id=f"item{number}", prompt_id=prompt.id, sample_ids=(first.id, second.id), old="first",
                new="second", lengths=(3, 4), flipped_by=("brief",),
            ),
        ),
        rest=(), left_out={}, failed_old={}, failed_new={"refused": 1},
    )  # fmt: skip
    preference = Preference(
        prompt_id=prompt.id, sample_ids=(first.id, second.id), label=0.75, evidence_ids=(comparison.id,)
    )
    estimate = Estimate(mean=0.5, low=0.4, high=0.6, n=10)
    records: list[Record] = [
        prompt,
        Demonstration(prompt_id=prompt.id, response="upstairs, on the left"),
        policy,
        judge,
        first,
        second,
        constitution,
        listed,
        swapped,
        failure,
        *judgements,
        comparison,
        label,
        spot_check,
        edit_test,
        EditOutcome(
            test_id=edit_test.id,
            number=0,
            decision="better",
            num_labelled=1,
            num_flips=1,
            capital_better=None,
            capital_worse=0.5,
            theta=estimate,
            delta=None,
            label_ids=(label.id,),
        ),
        Dispute(
            comparison_id=comparison.id,
            author="ann",
            says="wrong",
            reason="length",
            seen_seq=1,
            seen_head="0" * 64,
            note="it is only longer",
        ),
        preference,
        RewardModelCard(
            model_id=f"rm{number}",
            base_model_id=policy.id,
            dataset_digest="d",
            config={"lr": 1e-3},
            metrics={"loss": 0.5},
            accuracy=estimate,
        ),
        Panel.of(judge.id, f"other{number}"),
        CalibrationCard(
            judge_id=judge.id,
            constitution_id=constitution.id,
            labels_digest=f"l{number}",
            num_labels=2,
            num_annotators=1,
            simulated=True,
            before=Agreement(n=2, share=estimate, kappa=None, ac1=estimate, base_rates={"first": 1.0}),
            after=Agreement(n=2, share=estimate, kappa=None, ac1=estimate, base_rates={"first": 1.0}),
            between_people=None,
            map=CalibrationMap(kind="temperature", slope=0.5),
            log_loss={"identity": 0.7, "temperature": 0.6},
            human_weight=5.0,
        ),
        PolicyCard(
            model_id=f"p{number}",
            reference_model_id=policy.id,
            reward_model_id=None,
            config={},
            metrics={"kl": 1e-5},
        ),
        EvaluationReport(
            start_model_id=policy.id,
            policy_model_id=f"p{number}",
            constitution_id=constitution.id,
            win_rate=None,
            win_rate_by_principle={"brief": estimate},
            measures_before={},
            measures_after={},
            measures_change={},
            figures={"kl": 0.25},
        ),
        *(
            Use(
                run="001",
                round=0,
                stage="3_judgements",
                record_table=record.table,
                record_id=record.id,
                constitution_id=constitution.id,
            )
            for record in (*judgements, comparison)
        ),
    ]
    return World(
        template=template,
        prompt=prompt,
        samples=(first, second),
        constitution=constitution,
        judge=judge,
        questions=(listed, swapped),
        judgements=(judgements[0], judgements[1]),
        failure=failure,
        comparison=comparison,
        records=[*records, SIGN_OFF] if is_signed else records,
    )


def make_judgement(question_id: str, verdict: Verdict = "first", *, reason: str = "") -> Judgement:
    reason = reason or f"a is shorter than b in {question_id[:8]}"
    return Judgement(
        question_id=question_id,
        verdict=verdict,
        logprobs=(
            VerdictLogprob(verdict="first", logprob=-0.25),
            VerdictLogprob(verdict="second", logprob=-1.5),
        ),
        label_mass=0.9998,
        reason=reason,
        raw_reply=f"{reason}\nVerdict: {verdict}",
        observed=Observed(at="2026-01-01T00:00:00Z", latency_s=0.125, prompt_tokens=30, reply_tokens=9),
    )


def keep_world(ledger: Ledger, world: World) -> None:
    """Store everything of the world, as a run would."""
    ledger.put_texts([world.template.source, *(p.text for p in world.constitution.principles)])
    ledger.append(world.records)
