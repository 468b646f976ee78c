"""Who is asked again: the judge as a run that used its answer configured it, or another one by its name.

Finds configurations; opens no judge and asks nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from rlaif.config.judge import JudgeConfig, JudgeModelConfig
from rlaif.config.load import parse_config
from rlaif.config.models import resolve_path
from rlaif.config.resolve import find_gpu, suit_judge
from rlaif.errors import ConfigError, InputError, RunFolderError
from rlaif.judging.panel import find_run_judges
from rlaif.ledger.lineage import find_uses
from rlaif.ledger.store import Ledger
from rlaif.models.open import check_judge_engine
from rlaif.records import Judgement, Model, Question
from rlaif.run.folder import open_run

_SERVED = re.compile(r"(.+)@(https?://.+)", re.DOTALL)


class OwnJudges:
    """The judges that gave stored answers, each found once."""

    def __init__(self, ledger: Ledger, runs_dir: Path) -> None:
        self._ledger, self._runs_dir = ledger, runs_dir
        self._found: dict[str, JudgeConfig] = {}

    def find(self, judgement: Judgement, question: Question) -> JudgeConfig:
        """How the judge of an answer was asked, by the runs that used it. Refused where no run's folder says so."""
        if question.judge_id not in self._found:
            self._found[question.judge_id] = self._search(judgement, question)
        return self._found[question.judge_id]

    def _search(self, judgement: Judgement, question: Question) -> JudgeConfig:
        model = self._ledger.get(Model, question.judge_id)
        configs = list(self._list_configs(judgement))
        named = [config for config in configs if model is not None and _is_named(config.model, model)]
        same = [config for config in configs if model is not None and config.model.engine == model.engine]
        for config in (*named, *same):
            check_judge_engine(config)
            return config
        raise InputError(
            "no run's folder says how the judge of this answer was asked",
            where=str(self._runs_dir),
            fix="name the folder of its runs by --runs-dir, or a judge by --judge",
        )

    def _list_configs(self, judgement: Judgement) -> Iterator[JudgeConfig]:
        for run in dict.fromkeys(use.run for use in find_uses(self._ledger, [judgement.id])):
            try:
                folder = open_run(self._runs_dir, run)
                where = str(folder.path / "config.json")
                config = parse_config(json.dumps(folder.config["config"]), where=where, is_complete=True)
            except (RunFolderError, ConfigError):  # another run that used the answer may say it
                continue
            yield from (judge.config for judge in find_run_judges(config.judge))
            yield config.evaluation.judge.instead_of(config.judge)


def _is_named(config: JudgeModelConfig, model: Model) -> bool:
    path = resolve_path(config.path, part="judge") if config.is_local else config.path
    return config.engine == model.engine and model.observed.name in (path, config.path, str(Path(path).expanduser()))


def find_other_judge(name: str, *, environ: MutableMapping[str, str]) -> JudgeConfig:
    """A judge by the name of its folder, its hub id, or `MODEL@URL` for one behind a server.

    The server's address is put into `environ` under the name by which every judge's address is read.
    """
    base = JudgeConfig()
    served = _SERVED.fullmatch(name)
    if served is not None:
        environ[base.endpoint.base_url_env] = served[2]
        model = JudgeModelConfig(engine="openai", path=served[1])
    elif name.startswith(("http://", "https://")):
        raise InputError("the address names no model", where="--judge", fix=f"give MODEL@{name}")
    else:
        model = JudgeModelConfig(path=name)
        model = model.model_copy(update={"dtype": suit_judge(model, on_gpu=find_gpu()).dtype})
    config = base.model_copy(update={"model": model})
    check_judge_engine(config)
    return config
