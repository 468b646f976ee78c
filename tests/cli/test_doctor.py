"""`rlaif doctor`: what it finds, what it says about it, and that it works without torch."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from rlaif.cli.doctor import (
    Finding,
    Machine,
    check_hub,
    check_ledger,
    check_machine,
    check_network,
    check_packages,
    examine,
    find_memory,
    find_untried,
    nearest_folder,
    without_password,
)

CHECKOUT = Path(__file__).parents[2]
TESTED = Machine("Linux", "x86_64", "3.11", ())


def test_an_installed_version_in_its_range_is_fine_also_with_a_local_suffix():
    findings = list(check_packages(["torch>=2.9,<3"], {"torch": "2.13.0+cpu"}))
    assert findings[1:] == [Finding("torch", "ok", "2.13.0+cpu, in >=2.9,<3")]


def test_a_missing_package_is_a_problem_with_the_command_that_installs_it():
    [_, finding] = check_packages(["torch>=2.9,<3"], {})
    assert finding == Finding("torch", "problem", "not installed, needs >=2.9,<3", 'pip install "torch>=2.9,<3"')


def test_a_version_outside_its_range_is_a_problem():
    [_, finding] = check_packages(["trl>=1.16,<2"], {"trl": "0.9"})
    assert (finding.state, finding.found) == ("problem", "0.9, needs >=1.16,<2")


def test_names_are_compared_as_package_indexes_do():
    [_, finding] = check_packages(["PyYAML>=6"], {"pyyaml": "6.0.3"})
    assert finding.state == "ok"


def test_without_its_metadata_rlaif_says_that_it_is_not_installed():
    [finding] = check_packages([], {})
    assert (finding.topic, finding.state, finding.fix) == ("rlaif", "problem", "pip install -e .")


def test_the_write_ahead_log_is_tried_in_the_runs_folder_and_leaves_nothing(tmp_path):
    findings = {finding.topic: finding for finding in check_ledger(tmp_path)}
    assert findings["write-ahead log"].state == "ok"
    assert findings["SQLite"].state == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_runs_folder_that_cannot_be_written_is_a_problem_with_a_way_out():
    findings = {finding.topic: finding for finding in check_ledger(Path("/proc/self"))}
    assert findings["write-ahead log"].state == "problem"
    assert "ledger.path" in findings["write-ahead log"].fix


def test_a_folder_that_is_not_there_yet_stands_for_the_nearest_above_it(tmp_path):
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path


def test_cores_memory_and_disk_are_told(tmp_path):
    assert [finding.topic for finding in check_machine(tmp_path)] == ["CPU", "memory", "disk"]
    memory = find_memory()
    assert memory is not None
    assert memory > 2**28


def test_a_proxy_is_told_without_its_password():
    findings = list(check_network({"https_proxy": "http://ann:secret@proxy.example:3128/", "NO_PROXY": "a,b"}))
    assert findings == [
        Finding("HTTPS_PROXY", "note", "http://proxy.example:3128"),
        Finding("NO_PROXY", "note", "a,b"),
    ]


@pytest.mark.parametrize(
    ("url", "shown"),
    [("ann:secret@proxy:1", "proxy:1"), ("socks5://u@h:2", "socks5://h:2"), ("http://h", "http://h")],
)
def test_no_form_of_address_shows_its_password(url, shown):
    assert without_password(url) == shown


def test_a_certificate_bundle_that_is_not_there_is_a_problem(tmp_path):
    [finding] = check_network({"SSL_CERT_FILE": str(tmp_path / "none.pem")})
    assert (finding.state, finding.fix) == ("problem", "correct or unset SSL_CERT_FILE")


def test_the_model_cache_follows_the_environment(tmp_path):
    [cache, offline] = check_hub({"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"})
    assert cache.found == f"{tmp_path / 'hub'} (is made at the first download)"
    assert offline.state == "note"


def test_nothing_is_untried_on_the_kind_of_machine_that_ran_the_tests():
    assert list(find_untried(TESTED)) == []


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (TESTED._replace(system="Windows"), "Windows"),
        (TESTED._replace(system="Darwin", machine="arm64"), "Darwin arm64"),
        (TESTED._replace(machine="aarch64"), "Linux aarch64"),
        (TESTED._replace(python="3.13"), "not on 3.13"),
        (TESTED._replace(accelerators=("cuda:0 H",)), "ever run on a GPU"),
        (TESTED._replace(has_ray=True), "never on several machines"),
    ],
)
def test_every_other_kind_of_machine_is_told_what_was_never_tried_on_it(machine, words):
    [finding] = find_untried(machine)
    assert finding.state == "note"
    assert words in finding.found


def test_every_section_is_examined(tmp_path):
    sections = examine(runs_dir=tmp_path, environ={})
    assert list(sections) == [
        "packages",
        "machine",
        "ledger",
        "network and models",
        "never tried on this kind of machine",
    ]


def test_the_command_works_with_torch_missing_and_exits_1(tmp_path):
    """A real environment without torch: every other installed package is linked into a folder of its own."""
    packages = Path(sysconfig.get_paths()["purelib"])
    for entry in packages.iterdir():
        if not entry.name.startswith("torch") and entry.suffix != ".pth":
            (tmp_path / entry.name).symlink_to(entry)
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{CHECKOUT}", "COLUMNS": "300"}
    done = subprocess.run(
        [sys.executable, "-S", "-m", "rlaif", "doctor"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environ,
    )
    assert done.returncode == 1, done.stderr
    torch = next(line for line in done.stdout.splitlines() if line.strip().startswith("problem torch"))
    assert "not installed" in torch
    assert "pip install" in torch
    assert "torch cannot be imported" in done.stdout
    assert "to fix" in done.stdout
