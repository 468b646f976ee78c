"""A text -> the same text with personal data replaced: e-mail addresses, phone numbers, IBANs, credit cards.

IBANs and cards count only with the right checksum. Names, addresses and dates of birth are not found.
"""

from __future__ import annotations

import re

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\d.+-])(?<![A-Z]{2}\d\d )[2-6][0-9](?:[ -]?[0-9]){11,17}(?![\d-]|\.\d)")
_PHONE = re.compile(
    r"(?<![\w.+/-])(?<!\d )(?:\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,5}\)?){2,6}"  # +44 20 7946 0958
    r"|\(0?\d{2,5}\)[ ]?\d{2,5}(?:[ .-]?\d{2,5}){1,3}"  # (030) 901820
    r"|0\d{1,4}[ ./-]\d{2,5}(?:[ .-]?\d{2,5}){1,3}"  # 020 7946 0958
    r"|\d{3}[.-]\d{3}[.-]\d{4})(?![\w/-]|\.\d)"  # 212-555-0123
)
_MIN_DIGITS, _MAX_DIGITS = 8, 15
"""Of a phone number: E.164 has at most 15 digits."""
_MIN_IBAN = 15


def fix_personal(text: str) -> str:
    """The text with [e-mail], [IBAN], [card] and [phone] in place of what they name."""
    if "@" in text:
        text = _EMAIL.sub("[e-mail]", text)
    if not any(character.isdigit() for character in text):
        return text
    text = _IBAN.sub(_replace_iban, text)
    text = _CARD.sub(lambda found: "[card]" if is_card(found.group()) else found.group(), text)
    return _PHONE.sub(lambda found: "[phone]" if _is_phone(found.group()) else found.group(), text)


def is_iban(text: str) -> bool:
    """Whether the checksum of an IBAN is right (ISO 13616: modulo 97 is 1)."""
    plain = text.replace(" ", "")
    if len(plain) < _MIN_IBAN:
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def is_card(text: str) -> bool:
    """Whether the checksum of a card's number is right (Luhn)."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def _replace_iban(found: re.Match[str]) -> str:
    """An IBAN has no word after it that a pattern could tell from its groups: the longest part that fits counts."""
    text = found.group()
    for end in range(len(text), _MIN_IBAN - 1, -1):
        is_end = end == len(text) or text[end] == " "
        if is_end and text[end - 1] != " " and is_iban(text[:end]):
            return f"[IBAN]{text[end:]}"
    return text


def _is_phone(text: str) -> bool:
    return _MIN_DIGITS <= sum(character.isdigit() for character in text) <= _MAX_DIGITS
