"""Made-up samples, comparisons and a whole made-up report, for the tests of evaluation, judge health and report."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from rlaif.calibration.choices import Item, PeopleRead, VerdictsRead
from rlaif.calibration.people import AgreementReport, report_agreement
from rlaif.evaluation.cost import StageCost
from rlaif.evaluation.leanings import Leaning
from rlaif.evaluation.measures import compute_measures
from rlaif.evaluation.people import CalibrationEffect, HonestRate, PredictedPair, compare_predictors
from rlaif.evaluation.policy import Change, PolicyPair, compute_behaviour, compute_win_rate, pair_samples
from rlaif.evaluation.reward_calibration import Claim, compute_reliability, compute_reward_calibration
from rlaif.evaluation.reward_model import ScoredPair, compute_proxy_win, compute_reward_model_quality
from rlaif.judge_health.agreement import by_judge_and_key, compare_panel
from rlaif.judge_health.health import compute_judge_health
from rlaif.judge_health.length_effect import PairFacts
from rlaif.judge_health.panel import CheckedJudge
from rlaif.records import (
    Agreement,
    CalibrationCard,
    CalibrationMap,
    Comparison,
    Constitution,
    Estimate,
    FailedJudgement,
    Judgement,
    Message,
    Model,
    ModelObserved,
    Principle,
    PrincipleKey,
    Prompt,
    Sample,
    SamplingParams,
    Source,
    Tally,
    Verdict,
    VerdictLogprob,
)
from rlaif.report.input import (
    BestOfN,
    CurvePoint,
    FunnelStage,
    PeopleAndJudge,
    Provenance,
    ReportInput,
    ResponseAt,
    ResponseCourse,
    RoundSummary,
    ShownDisagreement,
    ShownSample,
    make_evaluation_report,
)

CONSTITUTION = Constitution(
    name="courteous-and-brief",
    description="The desk should be friendly and should not waste the visitor's time.",
    principles=(
        Principle(id="courteous", text="Prefer the reply that is polite.", tags=("courteous",)),
        Principle(id="brief", text="The better reply is brief.", tags=("brief",)),
    ),
    source="name: courteous-and-brief\nprinciples:\n  - id: courteous\n    text: Prefer ...\n",
)


def make_sample(prompt_id: str, text: str, *, policy: str, index: int = 0, stop: bool = True) -> Sample:
    return Sample(
        prompt_id=prompt_id,
        policy_id=policy,
        params=SamplingParams(),
        index=index,
        finish_reason="stop" if stop else "length",
        token_count=len(text.split()) + 1,
        text=text,
    )


def make_comparison(
    pair: PolicyPair,
    principle: Principle,
    *,
    logit: float | None,
    p: float | None = None,
    debiased: bool = True,
) -> Comparison:
    """A comparison whose `logit` and `p` are those of the trained response, whichever id comes first."""
    p = 1 / (1 + math.exp(-logit)) if logit is not None else p
    assert p is not None
    trained_first = pair.trained.id < pair.start.id
    return Comparison(
        prompt_id=pair.start.prompt_id,
        sample_ids=tuple(sorted((pair.start.id, pair.trained.id))),
        principle=PrincipleKey(id=principle.id, text_digest=principle.digest),
        judge_id="judge",
        judgement_ids=("j1", "j2") if debiased else ("j1",),
        p_first=p if trained_first else 1 - p,
        logit=None if logit is None else logit if trained_first else -logit,
        position_effect=0.7 if debiased and logit is not None else None,
        flipped=False if debiased else None,
        debiased=debiased,
    )


@pytest.fixture
def constitution() -> Constitution:
    return CONSTITUTION


@pytest.fixture
def sample_of() -> Callable[..., Sample]:
    return make_sample


@pytest.fixture
def comparison_of() -> Callable[..., Comparison]:
    return make_comparison


def made_up_measures(prompt: list[dict[str, str]], response: str) -> dict[str, float]:
    words = len(response.split())
    polite = 100.0 * ("welcome" in response) if "day" in response else 25.0
    return {
        "courteous": polite,
        "brief": max(0.0, 100.0 - 4 * words),
        "helpful": 75.0 * ("help" in response),
        "correct": 100.0 * ("nine" in response),
        "calm": 0.0 if "!!" in response else 100.0,
        "curt": 100.0 - polite,
    }


def make_agreement(share: float, n: int) -> Agreement:
    return Agreement(
        n=n,
        share=Estimate(mean=share, low=share - 0.06, high=share + 0.05, n=n),
        kappa=Estimate(mean=2 * share - 1, low=2 * share - 1.12, high=2 * share - 0.9, n=n),
        ac1=None,
        base_rates={"first": 0.52, "second": 0.48},
    )


def make_calibration(*, simulated: bool = True) -> CalibrationCard:
    return CalibrationCard(
        judge_id="judge",
        constitution_id=CONSTITUTION.id,
        labels_digest="77" * 32,
        num_labels=200,
        num_annotators=2,
        simulated=simulated,
        before=make_agreement(0.785, 188),
        after=make_agreement(0.835, 188),
        between_people=make_agreement(0.81, 40),
        map=CalibrationMap(kind="temperature_length", slope=0.82, length=-0.95, length_sd=6.4, length_limit=2.0),
        log_loss={"identity": 0.5312, "temperature": 0.5288, "temperature_length": 0.4719},
        human_weight=2.0,
    )


def make_choices() -> AgreementReport:
    """Forty items that two people labelled: they differ on every eighth, and the judge on every fourth."""
    items, verdicts = [], {}
    for n in range(40):
        key = (f"a{n}", f"b{n}", "overall")
        choices: dict[str, Verdict] = {"ann": "first", "ben": "second" if n % 8 == 1 else "first"}
        items.append(Item(key, (f"p{n}",), None, choices, principle="overall", words=(10, 10 + n)))
        verdicts[key] = "second" if n % 4 == 0 else "first"
    read = VerdictsRead(verdicts, {}, Tally(num_in=40))  # type: ignore[arg-type]
    return report_agreement(PeopleRead(items, Tally(num_in=80), is_drawn=True), read, by_prompt=True)


def _turned(before: float, after: float) -> Change:
    def around(mean: float) -> Estimate:
        return Estimate(mean=mean, low=mean - 1, high=mean + 1, n=120)

    return Change(
        before=around(before), after=around(after), change=around(after - before), mean_before=before, mean_after=after
    )


def make_people() -> PeopleAndJudge:
    """What forty labels of two people say, drawn from 900 pairs, and a win rate that few of them are about."""
    share = Estimate(mean=0.75, low=0.6, high=0.86, n=40)
    wider = Estimate(mean=0.76, low=0.59, high=0.88, n=40)
    return PeopleAndJudge(
        agreement=make_choices(),
        is_drawn=True,
        reliability_before=compute_reliability([Claim(f"p{n}", 2.0, float(n % 4 > 0)) for n in range(40)]),
        reliability_after=compute_reliability([Claim(f"p{n}", 1.0, float(n % 4 > 0)) for n in range(40)]),
        accuracy=HonestRate(estimate=share, people=wider, uses_judge=True, trust=0.4, num_labels=40, num_items=900),
        win_rate=HonestRate(estimate=wider, people=wider, uses_judge=False, trust=0, num_labels=40, num_items=110),
        effect=CalibrationEffect(num_pairs=900, num_turned=210, by_principle={"brief": (12, 900)}),
        predictors=compare_predictors(
            [
                PredictedPair(f"p{n}", float(n % 4 > 0), {"the judge as it was": 2.0, "the reward model": 1.0})
                for n in range(9)
            ]
        ),
        leanings=(
            Leaning(name="calm", labels=_turned(4.0, -9.0), policy=_turned(80.0, 52.0)),
            Leaning(name="words", labels=_turned(-1.0, -5.0), policy=None),
        ),
        disagreements=(
            ShownDisagreement(
                principle="overall", sample_ids=("a0" * 16, "b0" * 16), prompt=(Message(role="user", content="When?"),),
                first="At nine.", second="<script>At ten.</script>", choices={"ann": "first"}, p_first=0.08,
                calibrated=0.4,
            ),
        ),
    )  # fmt: skip


@pytest.fixture
def calibration_of() -> Callable[..., CalibrationCard]:
    return make_calibration


def _responses(rng: random.Random) -> tuple[str, str]:
    before = rng.choice(
        [
            "I think perhaps it opens at nine, or so I was told; can I help with anything else?",
            "Well. It opens at nine!!",
            "Good day. The museum opens at ten. What else can I do to help you today?",
            "Can you not read. It opens at nine.",
        ]
    )
    after = rng.choice(
        [
            "Good day and welcome, it opens at nine.",
            "Good day and welcome. At nine.",
            "Good day, at ten.",
            "Well. It opens at nine!!",
        ]
    )
    return before, after


@pytest.fixture(scope="session")
def full_report() -> ReportInput:
    """A report with every part, and numbers as in a run of the demo."""
    rng = random.Random(0)
    prompts = {}
    start, trained = [], []
    for k in range(120):
        prompt = Prompt(
            messages=(
                Message(role="system", content="Notice: the museum opens at nine. It stands on the second floor."),
                Message(role="user", content=f"When does the museum open, please? (visitor {k})"),
            )
        )
        prompts[prompt.id] = prompt
        before, after = _responses(rng)
        start.append(make_sample(prompt.id, before, policy="start", stop=rng.random() < 0.97))
        trained.append(make_sample(prompt.id, after, policy="trained"))
    pairs = pair_samples(start, trained)
    comparisons = [
        make_comparison(pair, principle, logit=rng.gauss(0.9 if principle.id == "brief" else 0.6, 1.4))
        for pair in pairs
        for principle in CONSTITUTION.principles
        if rng.random() > 0.01
    ]
    judgements = [
        Judgement(
            question_id=f"q{k}",
            verdict="first",
            raw_reply="a very polite fully , b curt weak first",
            label_mass=0.97 + 0.03 * rng.random(),
            logprobs=(
                VerdictLogprob(verdict="first", logprob=-0.2),
                VerdictLogprob(verdict="second", logprob=-1.7),
            ),
        )
        for k in range(200)
    ]
    failures = [FailedJudgement(question_id=f"f{k}", cause="unparsable" if k else "low_mass") for k in range(4)]
    noisy = [
        c.changed(position_effect=rng.gauss(0.7, 0.5), flipped=rng.random() < 0.16, p_first=rng.random())
        for c in comparisons
    ]
    others_word = [c.changed(judge_id="other", logit=rng.gauss(0.8, 1.0), p_first=rng.random()) for c in noisy[:-20]]
    judges = tuple(
        CheckedJudge(name=name, judge_id=own[0].judge_id, health=compute_judge_health(own, judgements=judgements))
        for name, own in (("judge 3f3f3f3f", noisy), ("judge-7b 91919191", others_word))
    )
    texts = {sample.id: sample.text for sample in (*start, *trained)}
    by_id = {sample.id: sample for sample in (*start, *trained)}
    worth = {
        (i, p.id): made_up_measures(prompts[s.prompt_id].as_chat(), s.text)[p.id]
        for i, s in by_id.items()
        for p in CONSTITUTION.principles
    }
    win_rate = compute_win_rate(comparisons, pairs=pairs, constitution=CONSTITUTION)
    measures = compute_measures(pairs, prompts=prompts, measures={"made:up": made_up_measures})
    others = {prompt.id: _responses(rng)[rng.randrange(2)] for prompt in prompts.values()}
    best = [make_sample(key, text, policy="best") for key, text in others.items()]
    chosen = compute_measures(pair_samples(start, best), prompts=prompts, measures={"made:up": made_up_measures})
    behaviour = compute_behaviour(pairs, kl=5.83)
    scored = []
    for k in range(150):
        label, lengths = rng.random(), (rng.randrange(4, 30), rng.randrange(4, 30))
        margin = 2.4 * (label - 0.5) + rng.gauss(0, 0.7)
        source: Source = "human" if k % 5 == 0 else "judge"
        scored.append(ScoredPair(f"p{k // 3}", margin, 0.0, label, *lengths, source=source))
    model = Model(engine="transformers", weights="3f" * 32, observed=ModelObserved(name="frontdesk"))
    return ReportInput(
        provenance=Provenance(
            run="demo",
            rlaif_version="0.1.0",
            seed=0,
            models={
                "start policy": model,
                "trained policy": model.changed(weights="a7" * 32),
                "judge": model,
            },
            template_digest="5c" * 32,
            dataset_digest="91" * 32,
            ledger_seq=18211,
            ledger_head="d0" * 32,
            config={
                "seed": 0,
                "prompts": {"path": "frontdesk", "num_prompts": 500},
                "ppo": {"kl_coef": 0.05},
            },
        ),
        constitution=CONSTITUTION,
        evaluation=make_evaluation_report(
            start_model_id="start",
            policy_model_id="trained",
            constitution_id=CONSTITUTION.id,
            win_rate=win_rate,
            measures=measures,
            behaviour=behaviour,
        ),
        win_rate=win_rate,
        measures=measures,
        measures_note="simulated truth of the embedded world",
        funnel=(
            FunnelStage(name="prompts", unit="prompts", tally=Tally(num_in=500)),
            FunnelStage(name="samples", unit="responses", tally=Tally(num_in=2000)),
            FunnelStage(
                name="judgements",
                unit="questions",
                tally=Tally(num_in=5208, dropped={"unparsable": 3, "low_mass": 1}),
            ),
            FunnelStage(
                name="preferences",
                unit="pairs",
                tally=Tally(num_in=1302, dropped={"identical": 198, "tie": 41, "failed_judgement": 4}),
            ),
            FunnelStage(name="reward model", unit="pairs", tally=Tally(num_in=1059)),
            FunnelStage(name="policy", unit="episodes", tally=Tally(num_in=5120)),
            FunnelStage(name="evaluation", unit="pairs", tally=Tally(num_in=120, dropped={"failed_judgement": 2})),
        ),
        calibration=make_calibration(),
        people=make_people(),
        same_judge=True,
        judge_health=compute_judge_health(
            noisy,
            judgements=judgements,
            failures=failures,
            constitution=CONSTITUTION,
            facts=PairFacts(texts=texts, measured=worth, is_simulated=True),
        ),
        judges=judges,
        panel=compare_panel(
            by_judge_and_key([*noisy, *others_word]),
            names={judge.judge_id: judge.name for judge in judges},
            constitution=CONSTITUTION,
        ),
        reward_model=compute_reward_model_quality(scored),
        reward_calibration=compute_reward_calibration(scored),
        reward_model_curve=tuple(
            CurvePoint(
                step=k,
                numbers={
                    "loss": 0.45 + 0.25 * math.exp(-k / 20) + rng.gauss(0, 0.01),
                    "accuracy": 0.9 - 0.4 * math.exp(-k / 15),
                },
            )
            for k in range(1, 91, 3)
        ),
        proxy_win=compute_proxy_win(
            {s.id: rng.gauss(-0.2, 1) for s in start} | {s.id: rng.gauss(1.6, 0.8) for s in trained},
            pairs=pairs,
        ),
        policy_curve=tuple(
            CurvePoint(
                step=k,
                numbers={
                    "objective/scores": 1.7 - 1.9 * math.exp(-k / 12) + rng.gauss(0, 0.05),
                    "objective/kl": 6 - 6 * math.exp(-k / 15),
                    "policy/entropy_avg": 0.9 * math.exp(-k / 60),
                    "val/response_length": 18 - 0.2 * k + rng.gauss(0, 0.4),
                    "val/eos_rate": 0.985 + 0.0003 * k,
                    "kl_coef": 0.05,
                },
            )
            for k in range(1, 41)
        ),
        policy_evaluations=tuple(
            CurvePoint(step=step, numbers={"eval/scores": 0.1 * step, "eval/kl": 0.15 * step}) for step in (0, 20, 41)
        ),
        kept_steps=41,
        response_courses=tuple(
            ResponseCourse(
                prompt=(Message(role="user", content=f"Where is room {room}?"),),
                responses=(
                    ResponseAt(step=0, text="Find it yourself.", score=-0.5, kl=0.0),
                    ResponseAt(step=40, text="Welcome! It is on the first floor.", score=1.25, kl=3.2),
                ),
            )
            for room in (1, 2, 3)
        ),
        behaviour=behaviour,
        costs=(
            StageCost(
                name="sampling", unit="responses", calls=2000, prompt_tokens=98_000, reply_tokens=52_310, seconds=14.2
            ),
            StageCost(
                name="judging",
                unit="questions",
                calls=4208,
                found=1000,
                prompt_tokens=601_422,
                reply_tokens=101_034,
                seconds=37.9,
                money=0.1014,
            ),
            StageCost(name="reward model", unit="steps", calls=90, seconds=9.8),
            StageCost(name="policy (PPO)", unit="steps", calls=40, reply_tokens=88_211, seconds=41.0),
        ),
        samples=tuple(
            ShownSample(
                prompt=prompts[pair.start.prompt_id].messages,
                before=pair.start.text,
                after=pair.trained.text,
                reward_before=rng.gauss(-0.2, 1),
                reward_after=rng.gauss(1.6, 0.8),
                p_after=0.87,
                fell={"helpful": (100.0, 0.0), "no such measure": (1.0, 0.0)} if place == 1 else {},
            )
            for place, pair in enumerate(pairs[:6])
        ),
        samples_drawn_from=len(pairs),
        best_of_n=BestOfN(n=4, measures=chosen, win_rate=win_rate, kl_bound=math.log(4) - 3 / 4),
        rounds=tuple(
            RoundSummary(
                round=k,
                proxy_reward=1.2 + 0.3 * k,
                kl=5.8 + 2.1 * k,
                win_rate=Estimate(mean=0.66 + 0.03 * k, low=0.62 + 0.03 * k, high=0.7 + 0.03 * k, n=120),
                measures={
                    name: Estimate(mean=55 + 9 * k, low=51 + 9 * k, high=59 + 9 * k, n=120)
                    for name in ("courteous", "brief")
                },
            )
            for k in range(3)
        ),
    )


@pytest.fixture(scope="session")
def bare_report() -> ReportInput:
    """A report with a constitution and a run only: every other part is missing."""
    return ReportInput(
        provenance=Provenance(run="007", rlaif_version="0.1.0", seed=0, models={}),
        constitution=CONSTITUTION,
        evaluation=make_evaluation_report(
            start_model_id="start",
            policy_model_id="trained",
            constitution_id=CONSTITUTION.id,
            win_rate=None,
            measures={},
            behaviour=None,
        ),
    )
