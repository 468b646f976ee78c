"""The import rules of the house: which part of rlaif may know which other part.

Every import statement counts, also those inside functions and behind TYPE_CHECKING.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rlaif"

FOUNDATION = {"records", "errors"}
BASE = {
    "config", "ledger", "runs", "console", "intervals", "metrics", "rows", "transcripts", "batch_plan", "files",
    "functions", "bradley_terry", "processes", "ranks", "install", "row_parts", "full_disk", "run_state", "sealed",
    "run_options", "run_inputs",
}  # fmt: skip
SHARED = {"constitution", "models"}
STAGES = {"sampling", "judging", "preferences", "calibration", "reward_model", "policy", "evaluation"}
FRONTS = {
    "pipeline", "work", "run_models", "opening", "collect", "rounds", "gates", "labelling", "probing", "judge_setup",
    "judges", "dry_run", "training_log", "stored_run", "constitution_diff", "judge_check", "judge_facts",
    "judge_agreement", "judge_reward", "reward_sources", "sentinels", "training_checks", "crew", "cli",
    "ppo_models", "input_checks", "audit", "doctor", "preflight", "__main__",
}  # fmt: skip
WORLD = {"frontdesk"}

ALLOWED: dict[str, set[str]] = {
    **dict.fromkeys(FOUNDATION, FOUNDATION),
    **dict.fromkeys(BASE, FOUNDATION | BASE),
    **dict.fromkeys(SHARED, FOUNDATION | BASE | SHARED),
    **dict.fromkeys(STAGES, FOUNDATION | BASE | SHARED),
    **dict.fromkeys(WORLD, FOUNDATION | BASE | SHARED),
    **dict.fromkeys(FRONTS, FOUNDATION | BASE | SHARED | STAGES | FRONTS | WORLD),
    "__init__": set(),
}


def explain(file: str, part: str, imported: str) -> str:
    if part in STAGES and imported in STAGES:
        return f"{file} imports rlaif.{imported}: a stage may not import another stage"
    if imported in WORLD:
        return f"{file} imports rlaif.{imported}: only fronts, tests and benchmarks may know the front desk"
    if imported in FRONTS:
        return f"{file} imports rlaif.{imported}: nothing below the fronts may know a front"
    return f"{file} imports rlaif.{imported}: {part} may import only {', '.join(sorted(ALLOWED[part]))}"


def imported_parts(tree: ast.Module, *, package: tuple[str, ...]) -> set[str]:
    """The parts (first name below rlaif) that a module imports; `package` is the module's own package."""
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = [*base, *(node.module or "").split(".")] if node.module else [*base]
            names = [[*stem, alias.name] for alias in node.names]
        else:
            continue
        parts |= {name[1] for name in names if name[0] == "rlaif" and len(name) > 1}
    return parts - {"__version__"}


def violations(source: str, *, file: str) -> list[str]:
    """The sentences that a module's imports earn; `file` is its path below rlaif/."""
    names = Path(file).with_suffix("").parts
    part = names[0]
    if part not in ALLOWED:
        return [f"rlaif/{file} belongs to no layer: give rlaif.{part} its place in tests/test_layers.py"]
    imported = imported_parts(ast.parse(source), package=("rlaif", *names[:-1]))
    return [explain(f"rlaif/{file}", part, other) for other in sorted(imported - {part}) if other not in ALLOWED[part]]


def test_no_module_imports_a_part_that_its_layer_may_not_know():
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
            "rlaif/judging/x.py imports rlaif.preferences: a stage may not import another stage",
        ),
        (
            "policy/ppo/x.py",
            "def f():\n    import rlaif.reward_model.score",
            "rlaif/policy/ppo/x.py imports rlaif.reward_model: a stage may not import another stage",
        ),
        (
            "policy/ppo/x.py",
            "from ...reward_model import score",
            "rlaif/policy/ppo/x.py imports rlaif.reward_model: a stage may not import another stage",
        ),
        (
            "evaluation/x.py",
            "from rlaif import frontdesk",
            "rlaif/evaluation/x.py imports rlaif.frontdesk: only fronts, tests and benchmarks may know the front desk",
        ),
        (
            "models/x.py",
            "from rlaif.pipeline import run",
            "rlaif/models/x.py imports rlaif.pipeline: nothing below the fronts may know a front",
        ),
        (
            "records/x.py",
            "from rlaif.config.base import Config",
            "rlaif/records/x.py imports rlaif.config: records may import only errors, records",
        ),
        (
            "helpers/x.py",
            "",
            "rlaif/helpers/x.py belongs to no layer: give rlaif.helpers its place in tests/test_layers.py",
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
        ("pipeline.py", "from rlaif import frontdesk, judging, policy"),
        ("policy/ppo/x.py", "from ..sft import train_sft\nimport torch"),
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
