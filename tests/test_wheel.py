"""The built wheel, away from the checkout: it brings its shipped files, its models and its types."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from made_once import make_once

CHECKOUT = Path(__file__).parent.parent
SHIPPED = ("constitutions", "presets", "prompts")


def run(*command: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env={**os.environ, **environ})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        done = run(
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--wheel-dir", str(folder), str(CHECKOUT)),
            cwd=folder,
        )
        assert done.returncode == 0, done.stderr

    [path] = make_once(tmp_path_factory, "wheel", make).glob("rlaif_pipeline-*.whl")
    return path


@pytest.mark.heavy
def test_the_wheel_holds_every_file_of_the_package_and_the_shipped_folders(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "rlaif", *SHIPPED],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT,
    )  # fmt: skip
    wanted = {name if name.startswith("rlaif/") else f"rlaif/{name}" for name in tracked.stdout.split("\0") if name}
    assert wanted <= held
    assert "rlaif/py.typed" in held


@pytest.mark.heavy
def test_an_installed_wheel_finds_its_constitutions_templates_and_models_from_anywhere(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
        *("--target", str(site), str(wheel)),
        cwd=elsewhere,
    )
    assert done.returncode == 0, done.stderr
    # --target puts the package on the path before an editable install of the checkout
    where = run(sys.executable, "-c", "import rlaif; print(rlaif.__file__)", cwd=elsewhere, PYTHONPATH=str(site))
    assert where.stdout.strip() == str(site / "rlaif" / "__init__.py")
    for command in (
        ("constitution", "check", "courteous_and_brief"),
        ("constitution", "show", "frontdesk/courteous_and_brief"),
        ("init", "mine"),
    ):
        done = run(sys.executable, "-m", "rlaif", *command, cwd=elsewhere, PYTHONPATH=str(site))
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
