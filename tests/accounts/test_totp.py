"""Codes of the time: the vectors of RFC 6238, one step around, none twice; a secret that is not shown by accident."""

from __future__ import annotations

import base64
import secrets

import pytest

from app.accounts.totp import RECOVERY_CODES, Factor, hash_recovery, make_recovery, make_secret

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("time_s", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(time_s: int, code: str) -> None:
    """RFC 6238, appendix B, the last six digits of the SHA-1 column."""
    factor = Factor(secret=RFC_SECRET)
    step = time_s // 30
    assert factor.find_step(code, time_s) == step
    assert [factor.find_step(code, time_s + 30 * away) for away in (-2, -1, 1, 2)] == [None, step, step, None]


def test_a_code_that_was_used_and_those_before_it_are_worth_nothing() -> None:
    for used, expected in ((0, 1), (1, None), (2, None)):
        assert Factor(secret=RFC_SECRET, step=used).find_step("287082", 59) == expected
    for wrong in ("", "28708", "2870821", "287083"):
        assert Factor(secret=RFC_SECRET).find_step(wrong, 59) is None


def test_secrets_and_recovery_codes_are_random_and_not_shown_by_accident() -> None:
    secret = make_secret(secrets.token_bytes)
    assert len(base64.b32decode(secret)) == 20
    assert secret not in repr(Factor(secret=secret))
    codes = make_recovery(secrets.token_bytes)
    assert len(set(codes)) == RECOVERY_CODES == 10
    assert all(len(base64.b32decode(code.replace("-", "").upper())) == 10 for code in codes)
    assert hash_recovery(codes[0]) == hash_recovery(codes[0].upper().replace("-", " "))
    assert Factor(secret=RFC_SECRET).uri("ada@example.com").startswith("otpauth://totp/BoltLink:ada%40example.com?")
