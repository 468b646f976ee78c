"""A judged run -> the health of its judge: what the ledger tells, and, where asked for, whether it still answers so.

Figures are computed in `rlaif.evaluation`, agreement in `rlaif.calibration`. Loads no model unless sentinels are asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from rlaif.errors import StageError
from rlaif.judge_health.agreement import by_judge_and_key, compare_two
from rlaif.judge_health.facts import check_judges, find_agreement, name_judge
from rlaif.judge_health.health import JudgeHealth
from rlaif.judge_health.panel import CheckedJudge, JudgesAgree, PanelAgreement
from rlaif.judge_health.sentinels import SentinelCheck, check_sentinels
from rlaif.judging.failures import describe_failures
from rlaif.judging.stage import JudgedRound, open_judged
from rlaif.ledger.queries import find_comparisons
from rlaif.records import Value
from rlaif.run.world import FRONTDESK_MEASURE, find_measures


class JudgeCheck(Value):
    run: str
    round: int
    judge: str
    judge_id: str
    constitution: str
    health: JudgeHealth
    """Health of the judge; for a panel, of its first judge."""
    further: tuple[CheckedJudge, ...] = ()
    """The panel's other judges."""
    panel: PanelAgreement | None = None
    """How far the panel's judges agree; None: one judge alone was asked."""
    judges: tuple[JudgesAgree, ...]
    """This run's judges and others that judged the same pairs, in any run of the ledger."""
    sentinels: SentinelCheck | None
    """None: not asked for."""


def check_judge_of_run(run: str | None, *, runs_dir: Path, sentinels: bool = False) -> JudgeCheck:
    """The named run or the newest, at its newest judged round. sentinels: load the judge and ask it again."""
    with open_judged(runs_dir, run, read_only=not sentinels) as (judged, bench):
        measures = find_measures(judged.config)
        checked = check_judges(judged, measures=measures, has_simulated_measure=FRONTDESK_MEASURE in measures)
        if not checked:
            why = f": {describe_failures(judged.failed, num_questions=len(judged.questions))}" if judged.failed else ""
            raise StageError(
                f"every question to this run's judge failed, there is nothing to compare{why}",
                where=str(judged.path),
                fix="see `rlaif audit list --failed`",
            )
        panel = find_agreement(judged)
        return JudgeCheck(
            run=judged.run,
            round=judged.number,
            judge=checked[0].name,
            judge_id=checked[0].judge_id,
            constitution=judged.constitution.name,
            health=checked[0].health,
            further=tuple(checked[1:]),
            panel=panel,
            judges=tuple(_compare_judges(judged, panel)),
            sentinels=check_sentinels(judged, bench) if sentinels else None,
        )


def _compare_judges(judged: JudgedRound, panel: PanelAgreement | None) -> Iterator[JudgesAgree]:
    """Every two judges that compared some of the run's pairs under the same principle; the panel's are compared."""
    comparisons = judged.comparisons
    own = by_judge_and_key(comparisons)
    wanted = {key for by_key in own.values() for key in by_key}
    others = find_comparisons(judged.ledger, dict.fromkeys(c.prompt_id for c in comparisons))
    # The run's own comparisons stand: the first one of each question is kept.
    by_judge = {
        judge_id: {key: comparison for key, comparison in by_key.items() if key in wanted}
        for judge_id, by_key in by_judge_and_key([*comparisons, *others]).items()
    }
    yield from panel.pairs if panel is not None else ()
    for one, other in combinations(by_judge, 2):
        if not {one, other} <= own.keys():
            found = compare_two(
                by_judge[one],
                by_judge[other],
                names=(name_judge(judged.ledger, one), name_judge(judged.ledger, other)),
                constitution=judged.constitution,
                draw_seed=judged.draw_seed,
            )
            if found is not None:
                yield found
