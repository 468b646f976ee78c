"""`rlaif spot-check serve`: it starts, prints an address for each annotator, and ends; and what it refuses."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from label_visits import choices, form_of, served
from page import Page
from sheets import make_test_sheet
from spot_checks import refusal

from rlaif.calibration.sheet import write_sheet


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_sheet(make_test_sheet(2), tmp_path / "sheet.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_annotator_has_an_address_that_opens_their_own_page_and_ctrl_c_ends_the_server(folder: Path) -> None:
    with served("--as", "ann", "--as", "bob") as (process, lines):
        assert lines[0] == "sheet.json: 2 items, answers in sheet.answers. Ctrl-C ends the server."
        names, addresses = zip(*(line.split(": ", 1) for line in lines[1:]), strict=True)
        assert names == ("ann", "bob")
        assert len({len(address.partition("token=")[2]) for address in addresses} | {32}) == 1
        for name, address in zip(names, addresses, strict=True):
            origin = address.partition("/enter")[0]
            with httpx.Client(base_url=origin, follow_redirects=True) as browser:
                assert browser.get(address).status_code == 200
                page = Page(browser.get("/").text)
                assert f"Labelling as {name}" in page.root.text
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
        assert (process.returncode, rest) == (0, "ended; every choice is saved\n")
    assert (choices(folder), choices(folder, "bob")) == ({}, {})


def test_a_killed_server_loses_no_label_and_counts_none_twice(folder: Path) -> None:
    for num_done in (1, 2):
        with served("--as", "ann") as (process, lines):
            address = lines[1].split()[1]
            origin = address.partition("/enter")[0]
            with httpx.Client(base_url=origin, headers={"origin": origin}) as browser:
                browser.get(address)
                form = form_of(Page(browser.get("/").text)) | {"action": "tie"}
                while len(choices(folder)) < num_done:  # the first 300 ms of an item are dead
                    assert browser.post("/", data=form).status_code == 303
                browser.post("/", data=form)
            process.kill()
        assert len(choices(folder)) == num_done


def test_a_port_that_is_taken_is_refused_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refusal("serve", "sheet.json", "--as", "ann", "--port", port)
    assert said.startswith(f"port {port} of 127.0.0.1 cannot be opened")
    assert "give another --port, or 0 for any free one" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.json", "--as", "ann"], "there is no such sheet"),
        (["sheet.json", "--as", "../ann"], '"../ann" cannot name an annotator'),
        (["sheet.json", "--as", "ann", "--host", "0.0.0.0"], '"0.0.0.0" is no address that a browser can open'),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_written(
    folder: Path, arguments: list[str], sentence: str
) -> None:
    assert sentence in refusal("serve", *arguments)
    assert [path.name for path in folder.iterdir()] == ["sheet.json"]


def test_without_the_extra_a_sentence_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['starlette'] = None; from rlaif.cli import main; main()"
    command = [sys.executable, "-c", code, "spot-check", "serve", "sheet.json", "--as", "ann"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "pages need the package starlette, which is not installed" in said
    assert 'install it by `pip install "rlaif-pipeline[ui]"`' in said
