"""The docs are true: every command is documented, what is generated is current, what README and guide say runs."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from rlaif.cli import app

CHECKOUT = Path(__file__).parent.parent.parent
README = CHECKOUT / "README.md"
GUIDE = CHECKOUT / "docs" / "guide.md"


class Line(NamedTuple):
    """One command line of the README or of the guide."""

    page: str
    number: int
    block: int
    """Line number at which its block begins. Each block starts in the clone's folder."""
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.number}"

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command on the line; `&&` stands between two."""
        words = shlex.split(self.text, comments=True)
        ends = [i for i, word in enumerate(words) if word == "&&"] + [len(words)]
        starts = [0, *(end + 1 for end in ends)]
        return [words[start:end] for start, end in zip(starts, ends, strict=False)]

    @property
    def programs(self) -> set[str]:
        return {words[0] for words in self.commands}


def command_lines(page: Path) -> list[Line]:
    """The command lines in the page's ```bash blocks; a line that ends in a backslash continues on the next."""
    lines: list[Line] = []
    block, continues = 0, False
    for number, text in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if text.strip().startswith("```"):
            block = number if not block and text.strip() == "```bash" else 0
        elif block and continues:
            lines[-1] = lines[-1]._replace(text=lines[-1].text[:-1] + text.strip())
        elif block and text.strip() and not text.strip().startswith("#"):
            lines.append(Line(page.name, number, block, text.strip()))
        continues = bool(block) and text.rstrip().endswith("\\")
    return lines


def all_lines() -> list[Line]:
    """The command lines of README and guide, in the order in which a newcomer meets them."""
    return command_lines(README) + command_lines(GUIDE)


def leaf_commands() -> dict[tuple[str, ...], object]:
    """Every command and group by the names that lead to it, from the program's own command tree."""
    found: dict[tuple[str, ...], object] = {}
    waiting = [((), typer.main.get_command(app))]
    while waiting:
        names, command = waiting.pop()
        found[names] = command
        waiting += [((*names, name), child) for name, child in getattr(command, "commands", {}).items()]
    return found


@pytest.mark.parametrize("names", sorted(names for names in leaf_commands() if names), ids=" ".join)
def test_every_command_is_documented_in_the_readme_or_in_docs_commands(names):
    text = README.read_text(encoding="utf-8") + (CHECKOUT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert re.search(rf"\brlaif {re.escape(' '.join(names))}\b", text)


def test_every_command_and_every_option_explains_itself():
    text = (CHECKOUT / "docs" / "commands.md").read_text(encoding="utf-8")
    undescribed = [" ".join(names) for names, command in leaf_commands().items() if not command.help]
    assert undescribed == []
    bare = re.findall(r"^  (?:-\w, )?--[\w-]+(?: \S+)?$(?!\n {10})", text, flags=re.MULTILINE)
    assert bare == []


def test_the_generated_docs_are_what_the_program_says_now():
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").split()) <= 1200


def test_every_command_line_of_readme_and_guide_is_of_a_kind_that_is_checked_here():
    unknown = [line for line in all_lines() if not line.programs <= {"rlaif", "make", "git", "cd"}]
    assert unknown == []
    assert any("rlaif" in line.programs for line in all_lines())


def test_every_make_target_in_readme_and_guide_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        word
        for line in all_lines()
        for words in line.commands
        if words[0] == "make"
        for word in words[1:]
        if "=" not in word
    }
    assert named <= targets
    assert "demo" in named


def test_every_rlaif_line_of_readme_and_guide_names_a_command_and_options_that_exist():
    commands = leaf_commands()
    help_of = (CHECKOUT / "docs" / "commands.md").read_text(encoding="utf-8")
    for line in all_lines():
        for words in line.commands:
            if words[0] != "rlaif":
                continue
            names = max((n for n in commands if tuple(words[1 : 1 + len(n)]) == n), key=len)
            assert names or words[1].startswith("--"), f"{line.place}: no such command: {line.text}"
            section = help_of.split(f"## {' '.join(('rlaif', *names))}\n", 1)[1].split("\n## ", 1)[0]
            options = [word.split("=")[0] for word in words[1:] if word.startswith("-") and word != "-"]
            missing = [name for name in options if not re.search(rf"(?<![\w-]){re.escape(name)}\b", section)]
            assert missing == [], f"{line.place}: no option of rlaif {' '.join(names)}"


@pytest.mark.heavy
def test_every_rlaif_line_of_readme_and_guide_runs_in_the_order_in_which_it_stands(tmp_path):
    """README and guide in one new folder, as a newcomer types them: this runs the loop, which takes minutes."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    shutil.copytree(CHECKOUT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("runs"))
    folder, block, written = tmp_path, "", tmp_path / "folder"
    for line in all_lines():
        if "rlaif" not in line.programs:
            continue
        if block != f"{line.page}:{line.block}":
            folder, block = tmp_path, f"{line.page}:{line.block}"
        done = subprocess.run(
            ["bash", "-c", f"{line.text}\ncode=$?; pwd > {shlex.quote(str(written))}; exit $code"],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=environ,
            timeout=1200,
        )
        assert done.returncode == 0, f"{line.place}: {line.text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        folder = Path(written.read_text().strip())


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT,
    )
    return [CHECKOUT / name for name in listed.stdout.split("\0") if name and (CHECKOUT / name).is_file()]


def lines_with(pattern: str, files: list[Path]) -> list[str]:
    """Each line that holds the pattern, as "file:line: text"."""
    return [
        f"{path.relative_to(CHECKOUT)}:{number}: {line.strip()[:100]}"
        for path in files
        if path.suffix not in {".safetensors", ".png", ".parquet"}
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_no_file_names_the_host_of_a_package_registry():
    # put together here, so that this file does not name one either
    hosts = ["py" + "pi.org", "python" + "hosted.org", "download." + "pytorch.org", "npm" + "js.org"]
    found = lines_with("|".join(map(re.escape, hosts)), tracked_files())
    assert not found, "\n" + "\n".join(found)


def test_no_file_outside_the_tests_names_a_folder_of_one_machine():
    pattern = r"(?<![\w.~/-])/(work\b|root\b|farm\b|home/[a-z]|Users/[A-Z]|opt/[a-z]|tmp/[a-z])"
    files = [path for path in tracked_files() if not path.is_relative_to(CHECKOUT / "tests")]
    found = lines_with(pattern, files)
    assert not found, "\n" + "\n".join(found)


def test_every_relative_link_in_the_docs_leads_somewhere():
    broken = []
    for path in [README, CHECKOUT / "CHANGELOG.md", *(CHECKOUT / "docs").glob("*.md")]:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.name}: {target}")
    assert broken == []


def test_the_tables_of_judging_are_those_of_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """`benchmarks/judging.py --publish` writes them."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    judging = importlib.import_module("judging")
    page = (CHECKOUT / "docs" / "judging.md").read_text(encoding="utf-8")
    shown = page.split(judging.MARKS[0])[1].split(judging.MARKS[1])[0].strip()
    measured, others = judging.read_results()
    assert shown == judging.render(measured, others=others)
    assert {"endpoint", "peers", "memory"} <= measured.keys()
    assert others.keys() == judging.OWN_SCRIPTS.keys()
