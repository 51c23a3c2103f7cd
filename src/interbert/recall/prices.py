"""Prices as shops write them -> numbers: `$1,299.00`, `25.00 USD`, `12,50 €`, `199元`."""

from __future__ import annotations

import re

_PRICE = re.compile(r"([^\d\s.,+-]{0,4})\s*(\d[\d.,' \u00a0\u202f]*)\s*([^\d\s.,+-]{0,4})")

_LONGEST = 40  # characters; longer texts are no prices, and would take the expression long


def price_of(text: str) -> tuple[str, float] | None:
    """(currency, amount) of a price, the currency as it is written; None of anything else.

    The last of two kinds of marks is the decimal one; one kind alone is one unless three digits follow it each time.

    >>> price_of("$1,299.00"), price_of("1.299,50 EUR"), price_of("12,50 €"), price_of("199元")
    (('$', 1299.0), ('EUR', 1299.5), ('€', 12.5), ('元', 199.0))
    >>> price_of("1.299 €"), price_of("0.125 €")
    (('€', 1299.0), ('€', 0.125))
    >>> price_of("1,299"), price_of("ask us"), price_of("10 - 20"), price_of("US$ 5 each"), price_of("ab 5,00")
    (('', 1299.0), None, None, None, None)
    """
    found = _PRICE.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if found is None or (found[1] and found[3]) or not _is_currency(found[1] or found[3]):
        return None
    digits = re.sub(r"[' \u00a0\u202f]", "", found[2])
    if re.fullmatch(r"[1-9]\d{0,2}(\.\d{3})+", digits):  # 1.299 €: thousands, as 1,299 are
        digits = digits.replace(".", "")
    comma, point = digits.rfind(","), digits.rfind(".")
    if comma > point and (point >= 0 or not re.fullmatch(r"\d{1,3}(,\d{3})+", digits)):
        digits = digits.replace(".", "").replace(",", ".")
    amount = digits.replace(",", "")
    return (found[1] or found[3], float(amount)) if re.fullmatch(r"\d+(\.\d+)?", amount) else None


def _is_currency(name: str) -> bool:
    """A sign, a code in capitals, a word in another script than ours, or one of the short words; "" too."""
    return (
        not name.isascii()
        or name.isupper()
        or not any(at.isalpha() for at in name)
        or "$" in name
        or name.lower() in ("kr", "fr", "ft", "lei", "rs", "eur", "usd", "euro")
    )
