"""What a look at a page says, and what comes of it: tables."""

from __future__ import annotations

import ssl

import h11
import pytest

from app.checks import Finding, Outcome, Verdict, is_looked_at, judge, outcome_of
from app.checks.judging import FAIL_LOOKS, GONE_LOOKS, REASON_CHARACTERS_MAX
from app.links import Link, LinkState
from app.outbound import EndlessUrlError, FetchError, RefusedUrlError, UnaskedError, UnknownNameError

URL = "https://a.example/"
BAD_TLS = Verdict.FAILS, "speaks no TLS that is understood"
NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((200, 201, 204, 206, 226, 300, 304), Verdict.FINE),
        ((400, 401, 402, 403, 405, 406, 407, 408, 409, 411, 414, 418, 421, 451, 499, 999), Verdict.FINE),
        ((425, 429, 503), Verdict.CLOSED),
        ((404, 410), Verdict.GONE),
        ((500, 501, 502, 504, 505, 520, 530, 599), Verdict.FAILS),
    ],
)
def test_a_status_says_whether_the_page_is_there(statuses: tuple[int, ...], verdict: Verdict) -> None:
    for status in statuses:
        assert judge(status) == Finding(verdict, f"it answers {status}")


def caused(error: FetchError, cause: BaseException) -> FetchError:
    error.__cause__ = cause
    return error


def bad_certificate(code: int = 10, message: str = "certificate has expired") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {message} (_ssl.c:1000)")
    error.verify_code, error.verify_message = code, message
    return error


NO_ISSUER = "unable to get local issuer certificate"


@pytest.mark.parametrize(
    ("error", "verdict", "reason"),
    [
        (
            caused(FetchError(URL, "led.example: Name or service not known"), UnknownNameError()),
            *(Verdict.FAILS, "its name is not known"),
        ),
        (FetchError(URL, "did not answer within 10 s"), Verdict.FAILS, "did not answer within 10 s"),
        (EndlessUrlError(URL, "leads on more than 5 times"), Verdict.CLOSED, "leads on more than 5 times"),
        (
            caused(FetchError(URL, "x"), bad_certificate(20, NO_ISSUER)),
            *(Verdict.CLOSED, f"its certificate fails: {NO_ISSUER}"),
        ),
        (
            caused(FetchError(URL, "[Errno 111] Connect call failed ('192.0.2.1', 443)"), ConnectionRefusedError()),
            *(Verdict.FAILS, "refuses connections"),
        ),
        (caused(FetchError(URL, "reset"), ConnectionResetError()), Verdict.FAILS, "breaks connections off"),
        (
            caused(FetchError(URL, "x"), bad_certificate()),
            *(Verdict.FAILS, "its certificate fails: certificate has expired"),
        ),
        (caused(FetchError(URL, "[SSL: X] x (_ssl.c:9)"), ssl.SSLError(1, "x")), *BAD_TLS),
        (
            caused(FetchError(URL, "('192.0.2.1', 80)"), OSError(113, "('192.0.2.1', 80)")),
            *(Verdict.FAILS, "cannot be reached: No route to host"),
        ),
        (
            caused(FetchError(URL, "illegal: b'SSH-2.0'"), h11.RemoteProtocolError("illegal: b'SSH-2.0'")),
            *(Verdict.CLOSED, "answers no HTTP that is understood"),
        ),
        (
            caused(
                FetchError(URL, "'any words' does not appear to be"), ValueError("'any words' does not appear to be")
            ),
            *(Verdict.FAILS, "leads on to what is no URL"),
        ),
        (
            caused(FetchError(URL, "x"), bad_certificate(62, "Hostname mismatch, certificate is not valid for 'led'.")),
            *(Verdict.FAILS, "its certificate fails: Hostname mismatch"),
        ),
        (FetchError(URL, "y" * 9_000), Verdict.FAILS, "y" * REASON_CHARACTERS_MAX),
        (RefusedUrlError(URL, "its address is not public"), Verdict.CLOSED, "its address is not public"),
        (UnaskedError(URL, "no name server answered"), Verdict.UNKNOWN, "no name server answered"),
    ],
)
def test_why_there_is_no_answer_says_it_too(error: FetchError, verdict: Verdict, reason: str) -> None:
    assert judge(error) == Finding(verdict, reason)


@pytest.mark.parametrize(
    ("verdict", "gone", "failures", "is_broken", "outcome"),
    [
        (Verdict.FINE, 0, 0, False, Outcome.LEAVE),
        (Verdict.FINE, 0, FAIL_LOOKS, False, Outcome.LEAVE),
        (Verdict.FINE, 0, 0, True, Outcome.MEND),
        (Verdict.GONE, 1, 1, False, Outcome.AGAIN),
        (Verdict.GONE, GONE_LOOKS - 1, GONE_LOOKS - 1, False, Outcome.AGAIN),
        (Verdict.GONE, GONE_LOOKS, GONE_LOOKS, False, Outcome.BREAK),
        (
            Verdict.GONE,
            1,
            GONE_LOOKS,
            False,
            Outcome.AGAIN,
        ),  # two that failed, as while a server is renewed, and one 404
        (Verdict.GONE, 1, FAIL_LOOKS, False, Outcome.BREAK),
        (Verdict.GONE, 1, 1, True, Outcome.LEAVE),
        (Verdict.FAILS, 0, GONE_LOOKS, False, Outcome.AGAIN),
        (Verdict.FAILS, 0, FAIL_LOOKS - 1, False, Outcome.AGAIN),
        (Verdict.FAILS, 0, FAIL_LOOKS, False, Outcome.BREAK),
        (Verdict.FAILS, 0, FAIL_LOOKS, True, Outcome.LEAVE),
        (Verdict.UNKNOWN, GONE_LOOKS, FAIL_LOOKS, False, Outcome.AGAIN),
        (Verdict.UNKNOWN, 0, 0, True, Outcome.AGAIN),
        (Verdict.CLOSED, GONE_LOOKS, FAIL_LOOKS, False, Outcome.LEAVE),
        (Verdict.CLOSED, 0, 0, True, Outcome.LEAVE),
    ],
)
def test_what_comes_of_a_look(verdict: Verdict, gone: int, failures: int, is_broken: bool, outcome: Outcome) -> None:
    assert outcome_of(Finding(verdict, ""), gone=gone, failures=failures, is_broken=is_broken) is outcome


def test_no_link_is_broken_after_one_look() -> None:
    for verdict in Verdict:
        assert outcome_of(Finding(verdict, ""), gone=1, failures=1, is_broken=False) is not Outcome.BREAK


@pytest.mark.parametrize(
    ("fields", "is_one"),
    [
        ({}, True),
        ({"target": "http://a.example:8080/x"}, True),
        ({"target": "ftp://a.example/"}, False),
        ({"target": ""}, False),
        ({"target": "https://[x/"}, False),
        *(({"state": state}, state is LinkState.ACTIVE) for state in LinkState),
        ({"expires": NOW}, False),
        ({"expires": NOW + 1}, True),
        ({"starts": NOW}, True),
        ({"starts": NOW + 1}, False),
        ({"max_visits": 5, "visits": 4}, True),
        ({"max_visits": 5, "visits": 5}, False),
    ],
)
def test_only_links_that_lead_somewhere_now_are_looked_at(fields: dict[str, object], is_one: bool) -> None:
    link = Link(**{"link": 1, "target": URL, "version": 1, "domain": "", "slug": "a", **fields})  # type: ignore[arg-type]
    assert is_looked_at(link, NOW) is is_one
