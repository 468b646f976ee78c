"""Personal data are replaced by what they are; numbers that are none stay."""

from __future__ import annotations

import pytest

from rlaif.cleaning.personal import fix_personal, is_card, is_iban


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("write to ann.smith+x@mail.example.org.", "write to [e-mail]."),
        ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN [IBAN] please"),
        ("GB82WEST12345698765432", "[IBAN]"),
        ("pay with 4111 1111 1111 1111 now", "pay with [card] now"),
        ("card 5500-0000-0000-0004", "card [card]"),
        ("call +44 20 7946 0958 or (030) 901820 10", "call [phone] or [phone]"),
        ("call 212-555-0123, or 020 7946 0958", "call [phone], or [phone]"),
    ],
)
def test_personal_data_are_replaced(text: str, clean: str) -> None:
    assert fix_personal(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "DE89 3704 0044 0532 0130 01",
        "order 4111 1111 1111 1112",
        "on 2024-05-17 at 10:30, 1 000 000 people",
        "ISBN 978-3-16-148410-0",
        "version 3.14.15, 192.168.100.100",
        "pi is 3.14159265358979",
        "@someone and a@b",
        "0000 0000 0000 0000",
        "from 1990 to 2000, room 0815",
    ],
)
def test_numbers_with_a_wrong_checksum_dates_and_versions_stay(text: str) -> None:
    assert fix_personal(text) == text


def test_checksums_are_those_of_the_standards() -> None:
    numbers = ("FR14 2004 1010 0505 0001 3M02 606", "FR14 2004 1010 0505 0001 3M02 607")
    assert [is_iban(number) for number in numbers] == [True, False]
    assert [is_card(number) for number in ("378282246310005", "378282246310006")] == [True, False]
