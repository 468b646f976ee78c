"""The line that installs an extra, and packages of somebody else that are called as ours is."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.cli.doctor import check_name
from rlaif.models.install import DISTRIBUTION, extra_line, find_foreign, is_clone

ROOT = Path(__file__).parents[2]


def put_package(folder: Path) -> Path:
    (folder / "rlaif").mkdir(parents=True)
    (folder / "rlaif" / "__init__.py").write_text("")
    return folder


def test_in_a_clone_an_extra_is_installed_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert extra_line("vllm") == 'pip install -e ".[vllm]"'
    monkeypatch.chdir(tmp_path)
    assert extra_line("vllm") == f'pip install -e "{ROOT}[vllm]"'


def test_outside_a_clone_an_extra_is_installed_from_the_index(tmp_path: Path) -> None:
    assert extra_line("ray", package=tmp_path / "rlaif") == 'pip install "rlaif-pipeline[ray]"'


def test_no_text_of_the_project_tells_to_install_the_strangers_package() -> None:
    assert is_clone(ROOT)
    wrong = (
        'pip install "rlaif[',
        "pip install rlaif[",
        "pip install rlaif ",
        "pip install rlaif\n",
        "pip install rlaif`",
    )
    texts = [
        path
        for pattern in ("rlaif/**/*.py", "docs/*.md", "examples/**/*.md", "benchmarks/*.py", "*.md", "Makefile")
        for path in ROOT.glob(pattern)
    ]
    assert len(texts) > 200
    assert [path for path in texts if any(line in path.read_text(encoding="utf-8") for line in wrong)] == []


def test_another_package_of_the_name_is_found_wherever_it_is(tmp_path: Path) -> None:
    ours = ROOT / "rlaif"
    assert find_foreign([str(ROOT)], package=ours) == []
    before = put_package(tmp_path / "before")
    [sentence] = find_foreign([str(before), str(ROOT)], package=ours)
    assert sentence == f"{before / 'rlaif' / '__init__.py'} is another package or module called rlaif"
    over = put_package(tmp_path / "over")
    assert find_foreign([str(over)], package=over / "rlaif") == [
        f"{over / 'rlaif' / '__init__.py'} is another package's file"
    ]
    installed = tmp_path / "site"
    (installed / "rlaif-0.0.1.dist-info").mkdir(parents=True)
    (installed / "rlaif-0.0.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: rlaif\nVersion: 0.0.1\n"
    )
    [sentence] = find_foreign([str(installed), str(ROOT)], package=ours)
    assert sentence == "a package called rlaif 0.0.1 is installed, which is not this program"
    [finding] = check_name([sentence])
    assert (finding.state, finding.fix) == (
        "problem", "remove it (pip uninstall rlaif), then install this program again: pip install -e .",
    )  # fmt: skip


def test_our_own_distribution_is_not_the_strangers(tmp_path: Path) -> None:
    (tmp_path / f"{DISTRIBUTION.replace('-', '_')}-0.1.0.dist-info").mkdir()
    metadata = tmp_path / f"{DISTRIBUTION.replace('-', '_')}-0.1.0.dist-info" / "METADATA"
    metadata.write_text(f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: 0.1.0\n")
    assert find_foreign([str(tmp_path), str(ROOT)], package=ROOT / "rlaif") == []
