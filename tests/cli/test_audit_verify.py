"""`rlaif audit head` and `verify --signed-head`: heads that people signed, and ledgers that were rewritten since."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest
from click.testing import Result
from ledger_world import keep_world, make_world
from rewritten import chain_again, open_file
from signers import Signer, needs_ssh_keygen
from typer.testing import CliRunner

from rlaif.audit.signed_heads import parse_head_text
from rlaif.cli.audit import audit_app
from rlaif.errors import DataError, InputError, LedgerError
from rlaif.ledger.sign_offs import StatedHead, state_head
from rlaif.ledger.store import Ledger
from rlaif.records import Dispute, HumanLabel, Use, digest_text

pytestmark = needs_ssh_keygen


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(audit_app, [*arguments, "--ledger", "ledger.sqlite"], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Signer]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: Signer(name, folder) for name in ("ann", "bob")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signers: dict[str, Signer]) -> Path:
    """A ledger, and the text of its head, in the working folder."""
    monkeypatch.chdir(tmp_path)
    with Ledger.open("ledger.sqlite") as ledger:
        keep_world(ledger, make_world())
    assert audit("head", "--out", "head.txt").exit_code == 0
    Path("allowed").write_text("".join(signer.line() for signer in signers.values()))
    return tmp_path


def verify(*signatures: Path, allowed: str = "allowed") -> Result:
    given = [part for path in signatures for part in ("--signed-head", str(path))]
    return audit("verify", *given, "--allowed-signers", allowed)


def test_a_head_is_a_text_of_five_lines_and_the_line_that_signs_it_is_printed(folder: Path) -> None:
    text = parse_head_text(Path("head.txt").read_text(), where="head.txt")
    with Ledger.open("ledger.sqlite", read_only=True) as ledger:
        assert (text.seq, text.hex) == ledger.head()
        assert text.ledger == ledger.head_at(1)
    result = audit("head", "--out", "again.txt")
    assert "ssh-keygen -Y sign -f YOUR_KEY -n rlaif-chain-head < again.txt > again.txt.YOUR_NAME.sig" in result.stdout


def test_a_file_that_is_there_is_not_overwritten(folder: Path) -> None:
    before = Path("head.txt").read_bytes()
    assert isinstance(audit("head", "--out", "head.txt").exception, InputError)
    assert Path("head.txt").read_bytes() == before


def test_several_people_sign_one_text_and_each_is_named(folder: Path, signers: dict[str, Signer]) -> None:
    with Ledger.open("ledger.sqlite") as ledger:
        seq = ledger.head().seq
        ledger.append([Use(run="002", round=0, stage="3_judgements", record_table="x", record_id="y")])
    result = verify(*(signer.sign(Path("head.txt")) for signer in signers.values()))
    assert result.exit_code == 0, result.exception
    assert f"signed by ann: rows 1 to {seq}, in head.txt.ann.sig" in result.stdout
    assert f"signed by bob: rows 1 to {seq}, in head.txt.bob.sig" in result.stdout
    assert f"rows {seq + 1} to {seq + 1} are after the last signed head" in result.stdout


def rewrite() -> int:
    """Change a verdict with everything that depends on it; the row that was changed."""
    file = open_file(Path("ledger.sqlite"))
    seq, content = file.execute("SELECT seq, content FROM human_labels ORDER BY seq LIMIT 1").get
    changed = content.replace('"choice":"first"', '"choice":"second"')
    file.execute(
        "UPDATE human_labels SET content = ?, id = ? WHERE seq = ?",
        (changed, digest_text(f"human_labels\n{changed}")[:32], seq),
    )
    chain_again(file)
    file.close()
    return int(seq)


def test_a_ledger_that_was_rewritten_as_a_whole_is_found_by_a_signed_head_alone(
    folder: Path, signers: dict[str, Signer]
) -> None:
    seq = parse_head_text(Path("head.txt").read_text(), where="").seq
    rewrite()
    assert audit("verify").exit_code == 0
    result = verify(signers["ann"].sign(Path("head.txt")))
    assert isinstance(result.exception, LedgerError)
    assert result.exception.exit_code == 1
    assert f"row {seq}: its head is not the one that was printed in head.txt.ann.sig, signed by ann" in result.stdout
    assert f"the first row that differs is one of 2 to {seq}, and every head after it was made again" in result.stdout


def test_between_two_signed_heads_the_change_is_located(folder: Path, signers: dict[str, Signer]) -> None:
    first = signers["ann"].sign(Path("head.txt"))
    seq = parse_head_text(Path("head.txt").read_text(), where="").seq
    with Ledger.open("ledger.sqlite") as ledger:
        keep_world(ledger, make_world(1))
    assert audit("head", "--out", "later.txt").exit_code == 0
    later = parse_head_text(Path("later.txt").read_text(), where="").seq
    file = open_file(Path("ledger.sqlite"))
    file.execute("UPDATE uses SET observed = '{}' WHERE seq = ?", (later,))
    chain_again(file, after=seq)
    file.close()
    result = verify(first, signers["bob"].sign(Path("later.txt")))
    assert f"the first row that differs is one of {seq + 1} to {later}" in result.stdout


def test_a_change_of_one_row_is_named_at_its_row(folder: Path, signers: dict[str, Signer]) -> None:
    with apsw.Connection("ledger.sqlite") as file:
        file.execute("UPDATE human_labels SET content = replace(content, '\"first\"', '\"second\"')")
        seq = file.execute("SELECT min(seq) FROM human_labels").get
    result = verify(signers["ann"].sign(Path("head.txt")))
    assert f"first at human_labels row {seq}" in str(result.exception)


def test_a_signature_of_another_text_is_not_good(folder: Path, signers: dict[str, Signer]) -> None:
    signature = signers["ann"].sign(Path("head.txt"))
    text = Path("head.txt").read_text()
    Path("head.txt").write_text(text.replace("\nseq ", "\nseq 1"))
    assert isinstance((found := verify(signature)).exception, LedgerError)
    assert "the signature is not good" in str(found.exception)


def test_a_signature_for_another_purpose_is_not_good(folder: Path, signers: dict[str, Signer]) -> None:
    signature = signers["ann"].sign(Path("head.txt"), namespace="file")
    Path("any").write_text(signers["ann"].line('namespaces="*"'))
    for allowed in ("allowed", "any"):
        assert isinstance(verify(signature, allowed=allowed).exception, LedgerError)


def test_somebody_who_is_not_listed_may_not_sign(folder: Path, signers: dict[str, Signer]) -> None:
    Path("only_bob").write_text(signers["bob"].line())
    result = verify(signers["ann"].sign(Path("head.txt")), allowed="only_bob")
    assert isinstance(result.exception, LedgerError)


@pytest.mark.parametrize(("dates", "is_good"), [("valid-after", True), ("valid-before", False)])
def test_a_key_must_have_been_valid_at_the_time_of_the_text(
    folder: Path, signers: dict[str, Signer], dates: str, is_good: bool
) -> None:
    Path("dated").write_text(signers["ann"].line('namespaces="rlaif-chain-head"', f'{dates}="20200101"'))
    result = verify(signers["ann"].sign(Path("head.txt")), allowed="dated")
    assert (result.exit_code == 0) is is_good


def test_a_signed_head_of_another_ledger_is_not_in_this_one(
    folder: Path, signers: dict[str, Signer], tmp_path_factory: pytest.TempPathFactory
) -> None:
    signature = signers["ann"].sign(Path("head.txt"))
    Path("ledger.sqlite").unlink()
    with Ledger.open("ledger.sqlite") as ledger:
        keep_world(ledger, make_world(7))
    result = verify(signature)
    assert "its head is not the one that was printed in head.txt.ann.sig, signed by ann" in result.stdout
    assert result.exit_code == 1


def test_an_annotator_signs_labels_and_one_under_their_name_that_they_did_not_sign_is_found(
    folder: Path, signers: dict[str, Signer]
) -> None:
    assert "labels and disputes of ann" in audit("head", "--annotator", "ann", "--out", "mine.txt").stdout
    signature = signers["ann"].sign(Path("mine.txt"))
    assert "labels and disputes of ann" in verify(signature).stdout
    seq = rewrite()
    result = verify(signature)
    assert f"human_labels row {seq}: " in result.stdout
    assert "bears the name ann and is not in mine.txt.ann.sig, signed by ann" in result.stdout
    assert ", in mine.txt.ann.sig, signed by ann, is missing" in result.stdout


def test_a_name_without_labels_is_refused(folder: Path) -> None:
    assert 'nobody called "eve"' in str(audit("head", "--annotator", "eve").exception)


def test_nobody_is_given_the_head_of_a_changed_ledger_to_sign(folder: Path) -> None:
    with apsw.Connection("ledger.sqlite") as file:
        file.execute("UPDATE uses SET observed = '{}'")
    assert isinstance(audit("head", "--out", "new.txt").exception, LedgerError)
    assert not Path("new.txt").exists()


def test_what_is_missing_for_a_check_is_said(
    folder: Path, signers: dict[str, Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = signers["ann"].sign(Path("head.txt"))
    said = str(audit("verify", "--signed-head", str(signature)).exception)
    assert "nobody says who may sign" in said
    assert "no signature to check" in str(audit("verify", "--allowed-signers", "allowed").exception)
    assert "there is no such file" in str(verify(Path("none.sig")).exception)
    shutil.copy(signature, "other.sig")
    assert "is not beside this signature" in str(verify(Path("other.sig")).exception)
    Path("other").write_text("hello\n")
    assert isinstance(verify(Path("other.sig")).exception, DataError)
    monkeypatch.setenv("PATH", "")
    assert "ssh-keygen, and it is not installed" in str(verify(signature).exception)


def sign_off(signature: Path, *, allowed: str = "allowed") -> Result:
    return audit("sign-off", str(signature), "--allowed-signers", allowed)


def test_a_signed_head_that_was_stored_is_checked_again_without_its_files_and_named_by_what_a_run_prints(
    folder: Path, signers: dict[str, Signer]
) -> None:
    signature = signers["ann"].sign(Path("head.txt"))
    seq = parse_head_text(Path("head.txt").read_text(), where="").seq
    assert f"stored: ann signed rows 1 to {seq}" in sign_off(signature).stdout
    assert sign_off(signature).exit_code == 0
    with Ledger.open("ledger.sqlite", read_only=True) as ledger:
        (printed,) = state_head(ledger).signed
        assert printed.describe().startswith(f"row {seq} by ann, ")
    signature.unlink()
    Path("head.txt").unlink()
    checked = audit("verify", "--allowed-signers", "allowed").stdout
    assert f"signed by ann: rows 1 to {seq}" in checked
    assert f"rows {seq + 1} to {seq + 1} are after the last signed head" in checked
    Path("only_bob").write_text(signers["bob"].line())
    result = audit("verify", "--allowed-signers", "only_bob")
    assert isinstance(result.exception, LedgerError)
    assert "sign-off" in str(result.exception)


def test_a_signature_that_is_not_good_or_of_another_ledger_is_not_stored(
    folder: Path, signers: dict[str, Signer]
) -> None:
    signature = signers["ann"].sign(Path("head.txt"))
    Path("only_bob").write_text(signers["bob"].line())
    assert isinstance(sign_off(signature, allowed="only_bob").exception, LedgerError)
    Path("ledger.sqlite").unlink()
    with Ledger.open("ledger.sqlite") as ledger:
        keep_world(ledger, make_world(7))
    assert "does not have the head that ann signed" in str(sign_off(signature).exception)
    with Ledger.open("ledger.sqlite", read_only=True) as ledger:
        assert state_head(ledger) == StatedHead(*ledger.head())


def test_labels_and_disputes_are_listed_by_the_digest_of_what_their_id_is_half_of(folder: Path) -> None:
    audit("head", "--annotator", "ann", "--out", "mine.txt")
    said = parse_head_text(Path("mine.txt").read_text(), where="").said
    assert all(one.digest.startswith(one.id) for one in said)
    with Ledger.open("ledger.sqlite", read_only=True) as ledger:
        tables = {kind.table for kind in (HumanLabel, Dispute) for one in said if ledger.get(kind, one.id) is not None}
    assert tables == {"human_labels", "disputes"}
