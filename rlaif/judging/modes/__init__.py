"""The judge modes: every way in which a judge can be asked about responses, a file each and a row each in `MODES`.

A mode is a `NamedTuple` of functions. Nothing else lists the modes or branches on their names.

    mode      what a mode is: its functions' types, its words
    pair      which of two responses is better, in both orders
    score     what each response is worth, one at a time
    ranking   which of several responses is best, in shuffled orders
    contrast  how much likelier a principle makes each response than its opposite does; nothing is written
    alone     what score and contrast share: questions about single responses, and which of them make a pair

A new mode: its module here, its row below, its name in `JudgeMode` (records/judgement.py), the kind of its templates
(constitution/template_rules.py), and docs/judging-modes.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from rlaif.judging.modes import contrast, pair, ranking, score
from rlaif.judging.modes.mode import Mode
from rlaif.records.judgement import JudgeMode

MODES: Mapping[JudgeMode, Mode] = {
    "pair": pair.MODE,
    "score": score.MODE,
    "ranking": ranking.MODE,
    "contrast": contrast.MODE,
}
"""The modes by the kind of the template, which is also the mode of a question."""
