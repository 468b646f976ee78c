"""A little world to be judged: two principles, a prompt's replies, and functions that judge them by their words."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.render import load_template
from rlaif.constitution.selection import prepare_constitution
from rlaif.judging.judge import Asking, Judging, judge_pairs
from rlaif.ledger.store import Ledger
from rlaif.models.scripted_engine import ScriptedAnswer, ScriptedEngine, ScriptedQuestion
from rlaif.records import Constitution, Message, Principle, Prompt, Sample

BRIEF = Principle(id="brief", text="Be brief.", weight=3.0)
KIND = Principle(id="kind", text="Be kind.", weight=1.0)
CONSTITUTION = Constitution(name="c", principles=(BRIEF, KIND), source="")


def make_prompts(num: int = 1) -> dict[str, Prompt]:
    prompts = [Prompt(messages=(Message(role="user", content=f"question {n}"),)) for n in range(num)]
    return {prompt.id: prompt for prompt in prompts}


def make_replies(prompt: Prompt, *texts: str) -> list[Sample]:
    """A sample of the prompt for each text, in canonical order: by id."""
    drawn = [
        Sample(prompt_id=prompt.id, policy_id="p", index=index, finish_reason="stop", text=text)
        for index, text in enumerate(texts)
    ]
    return sorted(drawn, key=lambda sample: sample.id)


def all_pairs(*groups: list[Sample]) -> list[tuple[Sample, Sample]]:
    return [pair for group in groups for pair in combinations(group, 2)]


def worth(text: str, prompt: str) -> float:
    """How good a text is, in logits: the number after `kind=` under the principle "kind", else that after `brief=`."""
    name = "kind=" if KIND.text in prompt and BRIEF.text not in prompt else "brief="
    return float(text.partition(name)[2].split()[0])


def by_worth(question: ScriptedQuestion) -> ScriptedAnswer:
    """Compares two replies; being shown first helps by half a logit."""
    *_, first, second = question.texts
    p = 1 / (1 + math.exp(worth(second, question.prompt) - worth(first, question.prompt) - 0.5))
    return ScriptedAnswer((p, 1 - p), reason="By worth.")


def judge(
    folder: Path,
    pairs: list[tuple[Sample, Sample]],
    *,
    prompts: dict[str, Prompt],
    script: str = "by_worth",
    template: str = "pair",
    constitution: Constitution = CONSTITUTION,
    draw_seed: int | None = None,
    **options: object,
) -> Judging:
    config = JudgeConfig.model_validate({"template": template, **options})
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        return judge_pairs(
            pairs, prompts=prompts, scorer=ScriptedEngine(f"judging_world:{script}"),
            asking=Asking(
                constitution=prepare_constitution(constitution, mode=config.principles),
                template=load_template(template), config=config, ledger=ledger, draw_seed=draw_seed,
            ),
            plan_path=folder / "questions_plan.json",
        )  # fmt: skip


def by_score(question: ScriptedQuestion) -> ScriptedAnswer:
    """Scores one reply: most of the probability on 1 + its worth, the rest evenly on the others."""
    top = round(worth(question.texts[-1], question.prompt))
    return ScriptedAnswer(
        [0.8 if n == top else 0.2 / (len(question.choices) - 1) for n in range(len(question.choices))]
    )


def by_choice(question: ScriptedQuestion) -> ScriptedAnswer:
    """Names the best of several replies by Luce's choice axiom; being shown first helps by half a logit."""
    utilities = [worth(text, question.prompt) for text in question.texts[1:]]
    utilities[0] += 0.5
    total = math.fsum(math.exp(u) for u in utilities)
    rest = [0.0] * (len(question.choices) - len(utilities))
    return ScriptedAnswer([*(math.exp(u) / total for u in utilities), *rest])


def by_worth_or_tie(question: ScriptedQuestion) -> ScriptedAnswer:
    """Compares two replies and calls those of equal worth a tie, in nine of ten."""
    *_, first, second = question.texts
    gap = worth(first, question.prompt) - worth(second, question.prompt)
    if gap == 0:
        return ScriptedAnswer((0.05, 0.05, 0.9))
    return ScriptedAnswer((0.9, 0.05, 0.05) if gap > 0 else (0.05, 0.9, 0.05))


def refuse_two(question: ScriptedQuestion) -> ScriptedAnswer | str:
    """Scores, but refuses the reply that begins with "two"."""
    return "refused" if question.texts[-1].startswith("two") else by_score(question)
