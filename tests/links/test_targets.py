"""Which targets a link may have, and how they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.links import TargetError, authority_of, normalise_target
from app.links.targets import TARGET_BYTES_MAX


@pytest.mark.parametrize(
    "target",
    [
        "https://www.rfc-editor.org/rfc/rfc9110.html",
        "http://example.com",
        "http://example.com?x=1",
        "https://example.com/a//b/../c;p=1?q=a+b&r=%20%2F#frag",
        "https://example.com:8443/",
        "http://192.0.2.1/x",
        "http://[2001:db8::1]:8080/x",
        "https://xn--mnchen-3ya.de/",
        "https://example.com/~user/(x)/[y]",
        "https://a.b-c.example/%E2%82%AC",
        "https://a.example/%e2%82%ac?signature=%2f",
        "https://[2001:db8:0:0::1]/",
    ],
)
def test_a_legal_target_is_kept_byte_for_byte(target: str) -> None:
    assert normalise_target(target) == target


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("HTTPS://Example.COM/Path", "https://example.com/Path"),
        ("https://münchen.de/straße?q=ü", "https://xn--mnchen-3ya.de/stra%C3%9Fe?q=%C3%BC"),
        ("https://example.com/a b", "https://example.com/a%20b"),
        ("https://example.com/100%", "https://example.com/100%25"),
        ("https://example.com/%e2%82%ac?ü", "https://example.com/%E2%82%AC?%C3%BC"),
        ('https://example.com/"<>\\^`{|}', "https://example.com/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("https://日本語.jp", "https://xn--wgv71a119e.jp"),
    ],
)
def test_the_least_change_makes_it_legal(given_text: str, kept: str) -> None:
    assert normalise_target(given_text) == kept
    assert normalise_target(kept) == kept


@pytest.mark.parametrize(
    "target",
    [
        *(
            "",
            "example.com",
            "ftp://example.com/",
            "javascript:alert(1)",
            "data:text/html,x",
            "//example.com",
            "http:/a",
        ),
        *(
            "http://",
            "http:///path",
            "https://exa mple.com/",
            "https://example.com:99999/",
            "https://example.com:0/",
        ),
        *("https://user@example.com/", "https://u:p@example.com/", "https://example.com/\r\nSet-Cookie: a=b"),
        *("https://example.com/\x00", " https://example.com/", "https://example.com/ ", "https://-a.com/"),
        *(
            "https://256.1.1.1/",
            "https://[::g]/",
            "http://a..b/",
            "https://" + "a" * 64 + ".com/",
            "https://[::1/",
        ),
        *("https://example.com/" + "a" * 8192, "https://example.com/\u2028x", "https://example.com/\ud800"),
        *(
            "https://sho.rt/abc",
            "https://SHO.RT:443/abc",
            "https://sho.rt./abc",
            "http://[fe80::1%25eth0]/",
            "http://0x7f.1/",
        ),
    ],
)
def test_what_cannot_be_a_target_is_refused(target: str) -> None:
    with pytest.raises(TargetError):
        normalise_target(target, {authority_of("https://sho.rt")})


@given(st.text(max_size=60))
def test_whatever_is_accepted_is_visible_ascii_and_stable(tail: str) -> None:
    try:
        target = normalise_target("https://example.com/" + tail)
    except TargetError:
        return
    assert all("!" <= char <= "~" for char in target)
    assert normalise_target(target) == target


@given(
    st.from_regex(r"[a-z0-9_.\-]{1,24}", fullmatch=True),
    st.text("abZ09-._~:/?#[]@!$&'()*+,;=%é \n", max_size=12).map(lambda text: text and "/" + text),
)
def test_a_plain_target_is_judged_as_one_with_a_port(host: str, rest: str) -> None:
    def judged(authority: str) -> str:
        try:
            return normalise_target(f"https://{authority}{rest}", [("a.example", 443), ("a.example", 8443)])
        except TargetError as error:
            return str(error)

    assert judged(f"{host}:8443").replace(":8443", "") == judged(host)


def test_a_plain_target_leads_neither_back_nor_beyond_what_names_and_targets_may_have() -> None:
    with pytest.raises(TargetError, match="back to this service"):
        normalise_target("https://a.example/x", [("a.example", 443)])
    assert normalise_target("https://a.example/x", [("a.example", 80)]) == "https://a.example/x"
    with pytest.raises(TargetError, match="no valid host"):
        normalise_target("https://" + "abcd." * 50 + "example")
    with pytest.raises(TargetError, match="longer than"):
        normalise_target("https://a.example/" + "x" * TARGET_BYTES_MAX)


def test_what_is_too_long_is_refused_before_any_work() -> None:
    for tail in ("\u0301", "\n", '"'):
        with pytest.raises(TargetError, match=f"longer than {TARGET_BYTES_MAX}"):
            normalise_target("ftp://a.example/" + tail * TARGET_BYTES_MAX)


def test_what_urlsplit_would_normalise_for_long_is_refused_before() -> None:
    accents = "\u0301\u0323" * 2_000
    for target in (f"http://a{accents}.example/", f"http://{accents}@a.example/", f"//a{accents}"):
        with pytest.raises(TargetError, match="too long"):
            normalise_target(target)
    assert normalise_target("https://a.example/?" + "x" * 2_000).endswith("x")
