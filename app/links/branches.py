"""Where a link may lead besides its target: rules and variants, as they are stored.

In: judged wishes of the API, documents of MongoDB, values of Redis. Out: frozen structs; `app.redirect` chooses.

    rules      the first one whose conditions all hold says where a visitor goes
    variants   else a share of visitors, by weight, goes to each of these
    target     else the link's own target

Within one condition the values are alternatives; a condition that is empty holds always. Pure. May import: msgspec.
"""

from __future__ import annotations

import msgspec

__all__ = ["BRANCH_BYTES_MAX", "RULES_MAX", "VARIANTS_MAX", "WEIGHT_MAX", "Parameter", "Rule", "Variant", "When"]

RULES_MAX = 32  # judged one by one for each visitor: 32 that all fail cost 20 µs
VARIANTS_MAX = 32
WEIGHT_MAX = 10_000
BRANCH_BYTES_MAX = 32 * 1024  # of all targets of one link together: L1 holds them


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of the short URL's query; any value when `values` is empty."""

    name: str
    values: tuple[str, ...] = ()


class When(msgspec.Struct, frozen=True, omit_defaults=True):
    """Conditions of a rule.

    Attributes:
        device: desktop, mobile or tablet.
        os: a system's family, whatever its case; macOS and "Mac OS X" mean the same.
        browser: a browser's family; Chrome also means Chrome Mobile.
        language: two or three letters in lower case, the first of Accept-Language.
        country: two letters in upper case.
        query: all of these parameters.
        after: Unix seconds, from then on; `before`: until then.
        hours: minutes of the day from (included) and to (not), over midnight when from > to.
        weekdays: 1 (Monday) to 7.
        timezone: an IANA name, for hours and weekdays.
    """

    device: tuple[str, ...] = ()
    os: tuple[str, ...] = ()
    browser: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    country: tuple[str, ...] = ()
    query: tuple[Parameter, ...] = ()
    after: int | None = None
    before: int | None = None
    hours: tuple[int, int] | None = None
    weekdays: tuple[int, ...] = ()
    timezone: str = "UTC"


class Rule(msgspec.Struct, frozen=True):
    """Who meets all of `when` goes to `target`, visible ASCII."""

    target: str
    when: When


class Variant(msgspec.Struct, frozen=True):
    """A share of visitors, `weight` of the sum of all weights, goes to `target`, visible ASCII."""

    target: str
    weight: int = 1
