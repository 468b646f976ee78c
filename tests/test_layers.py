"""The import rules of the house: which room of rlaif may know which other room.

Every import statement counts, also those inside functions and behind TYPE_CHECKING.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from house import PACKAGE, imported_names

ORDER = (
    "errors", "console", "records",
    "files", "stats", "config", "ledger",
    "cleaning", "constitution", "calibration", "training", "models",
    "evaluation", "frontdesk",
    "run",
    "sampling", "judging", "preferences", "reward_model", "policy",
    "judge_health", "report",
    "loop", "pipeline",
    "study", "audit", "cli", "__main__",
)  # fmt: skip
"""The rooms in the order of the flow: each may import only those before it."""
GLUE = ("stage.py", "check.py")
"""The files of a room between `run` and `loop` that may import rlaif.run: they take values out of the run."""
WORLD = "run/world.py"
"""The one file that knows the front desk."""


def explain(file: str, part: str, imported: str) -> str | None:
    """The sentence that an import against the order earns."""
    name = file.removeprefix("rlaif/")
    if ORDER.index(imported) > ORDER.index(part):
        return f"{file} imports rlaif.{imported}: {part} stands before it in the order of the rooms"
    if imported == "frontdesk" and name != WORLD:
        return f"{file} imports rlaif.frontdesk: in rlaif only {WORLD}, tests and benchmarks may know the front desk"
    between = ORDER.index("run") < ORDER.index(part) < ORDER.index("loop")
    if imported == "run" and between and Path(name).name not in GLUE:
        return f"{file} imports rlaif.run: of a room only {' or '.join(GLUE)} may, and it hands values on"
    return None


def imported_parts(tree: ast.Module, *, package: tuple[str, ...]) -> set[str]:
    """The parts (first name below rlaif) that a module imports; `package` is the module's own package."""
    names = imported_names(tree, package=package)
    return {name[1] for name in names if name[0] == "rlaif" and len(name) > 1} - {"__version__"}


def violations(source: str, *, file: str) -> list[str]:
    """The sentences that a module's imports earn; `file` is its path below rlaif/."""
    names = Path(file).with_suffix("").parts
    part = names[0]
    if part == "__init__":
        return []
    if part not in ORDER:
        return [f"rlaif/{file} belongs to no room: give rlaif.{part} its place in tests/test_layers.py"]
    imported = imported_parts(ast.parse(source), package=("rlaif", *names[:-1]))
    found = [explain(f"rlaif/{file}", part, other) for other in sorted(imported - {part}) if other in ORDER]
    return [sentence for sentence in found if sentence is not None]


def test_no_module_imports_against_the_order_of_the_rooms():
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    found = [
        sentence
        for path in files
        for sentence in violations(path.read_text(encoding="utf-8"), file=path.relative_to(PACKAGE).as_posix())
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("file", "source", "sentence"),
    [
        (
            "judging/x.py",
            "from rlaif.preferences.pairing import pair_judgements",
            "rlaif/judging/x.py imports rlaif.preferences: judging stands before it in the order of the rooms",
        ),
        (
            "judging/x.py",
            "def f():\n    import rlaif.reward_model.score",
            "rlaif/judging/x.py imports rlaif.reward_model: judging stands before it in the order of the rooms",
        ),
        (
            "records/x.py",
            "from ..config.base import Config",
            "rlaif/records/x.py imports rlaif.config: records stands before it in the order of the rooms",
        ),
        (
            "evaluation/x.py",
            "from rlaif import pipeline",
            "rlaif/evaluation/x.py imports rlaif.pipeline: evaluation stands before it in the order of the rooms",
        ),
        (
            "policy/ppo/x.py",
            "from rlaif.run.folder import RunFolder",
            "rlaif/policy/ppo/x.py imports rlaif.run: of a room only stage.py or check.py may, and it hands values on",
        ),
        (
            "report/x.py",
            "from rlaif import frontdesk",
            "rlaif/report/x.py imports rlaif.frontdesk: in rlaif only run/world.py, tests and benchmarks may know the "
            "front desk",
        ),
        (
            "helpers/x.py",
            "",
            "rlaif/helpers/x.py belongs to no room: give rlaif.helpers its place in tests/test_layers.py",
        ),
    ],
)
def test_a_forbidden_import_is_told_in_a_sentence(file, source, sentence):
    assert violations(source, file=file) == [sentence]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("judging/x.py", "from rlaif.judging.verdict import read_verdict\nfrom . import debias"),
        ("judging/x.py", "from rlaif.models.interface import TokenScorer\nfrom rlaif import __version__"),
        ("judging/stage.py", "from rlaif.run.round import Round"),
        ("run/world.py", "from rlaif.frontdesk.world import make_prompts"),
        ("pipeline.py", "from rlaif import judging, policy"),
        ("policy/ppo/x.py", "from ..methods.sft import train_sft\nimport torch"),
    ],
)
def test_an_allowed_import_is_not_a_finding(file, source):
    assert violations(source, file=file) == []


@pytest.mark.parametrize("module", ["rlaif", "rlaif.cli"])
def test_importing_the_command_line_does_not_import_torch(module):
    heavy = "{'torch', 'transformers', 'datasets', 'trl', 'accelerate', 'pyarrow', 'pandas', 'apsw'}"
    code = f"import sys, {module}; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
