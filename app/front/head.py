"""Says whether bytes are one plain GET or HEAD, and of what. Pure: bytes in, a match out.

In: bytes as a connection read them. Out: the slug, the Host and whether the connection shall close; None means
"not plain: ask h11", never "wrong". Two judges of falling speed and rising patience, all subsets of what h11
accepts with the same meaning:

    plain    exactly one head, HTTP/1.1, Host first, browsers' headers in browsers' order, keep-alive; or, where
             allowed, `Connection: close`
    careful  exactly one head, HTTP/1.0 or 1.1, headers in any order and spelling, any path

A plain head has CRLF line ends throughout, no NUL, VT or FF, no bare CR or LF, no folded line, no space before a colon,
one Host (RFC 9112 3.2), and no header that changes framing or connection handling but Connection.

Interpreted, the judges are regular expressions; compiled, the first is one scan over a table of character classes
(docs/performance.md#head). Of the bytes that h11 refuses in a value, the expressions of `plain` let NUL, VT, FF and DEL
pass, which memchr finds faster.
May import: the standard library.
"""

from __future__ import annotations

import re

import cython
from cython import compiled

if compiled:
    from cython.cimports.libc.string import memchr, memcmp, memcpy

__all__ = [
    "FIELDS_MAX",
    "HEAD_BYTES_MAX",
    "Careful",
    "could_be_plain",
    "is_crowded",
    "judge",
    "plain",
    "plain_or_close",
]

#: A longer head is refused with 431; browsers and proxies stay far below (nginx allows 8 KiB a line).
HEAD_BYTES_MAX = 16 * 1024
#: With more lines it is refused with 431, too: 4,000 short fields within 16 KiB kept h11 and Tornado busy for 20 ms.
FIELDS_MAX = 256

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_SLUG = rb"([\w-]{1,64}+)"
_QUERY = rb"(?:\?[!\"$-~]*+)?+"  # visible ASCII but "#", which no request-target holds (RFC 9112 3.2)
_HOST = rb"((?:[A-Za-z0-9.-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{1,5}+)?+)"
_VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]*+\r\n"
#: Headers that change framing or the connection, or that must be unique: never skipped over as "some header".
_SPECIAL = (
    rb"(?i:connection|content-length|transfer-encoding|expect|upgrade|keep-alive|te|trailer|host|http2-settings"
    rb"|proxy-connection)"
)
_OTHER = rb"(?:(?!" + _SPECIAL + rb":)" + _TOKEN + rb"++:" + _VALUE + rb")*+"


def _common(connection: bytes) -> re.Pattern[bytes]:
    """The expression of `plain`: literals in the order of browsers first, which is cheap; then any header."""
    line = rb"(?:(?=[^\r]*+\r\n).*+(?<=\r)\n)"  # to the end of the line; refuses a bare CR and a bare LF by itself
    # The first letters of the special names; a name that starts otherwise skips the look-ahead's alternatives.
    special = (
        rb"(?:[Cc](?i:onnection|ontent-length)|[TtEeUuKkHhPp](?i:ransfer-encoding|xpect|pgrade|eep-alive|e|railer|ost"
        rb"|ttp2-settings|roxy-connection))"
    )
    upgrade = rb"(?:Upgrade-Insecure-Requests: 1\r\n)?+"
    agent, accept, language, encoding, referrer = (
        rb"(?:" + name + rb":" + line + rb")?+"
        for name in (rb"User-Agent", rb"Accept", rb"Accept-Language", rb"Accept-Encoding", rb"Referer")
    )
    return re.compile(
        rb"(?:GET|HEAD) /" + _SLUG + _QUERY + rb" HTTP/1\.1\r\nHost: " + _HOST + rb"\r\n"
        # Chrome: connection upgrade agent accept referrer encoding language; Firefox: agent accept language encoding
        # referrer connection upgrade; Safari: upgrade accept agent referrer language encoding connection.
        + connection + upgrade + agent + accept + agent + referrer + encoding + language + encoding + referrer
        + connection + upgrade
        + rb"(?:(?!" + special + rb":)" + _TOKEN + rb"++:" + line + rb")*+" + connection + rb"\r\n\Z",
        re.ASCII,
    )  # fmt: skip


_KEEP = _common(rb"(?:Connection: keep-alive\r\n)?+").match
_KEEP_OR_CLOSE = _common(rb"(?:Connection: (?:keep-alive|(close))\r\n)?+").match

_CONNECTION = rb"(?i:connection):[ \t]*+(?:(?i:keep-alive)|((?i:close)))[ \t]*+\r\n"
_HOST_LINE = rb"(?i:host):[ \t]*+" + _HOST + rb"[ \t]*+\r\n"
_CAREFUL = re.compile(
    rb"(GET|HEAD) (/[\w.~/-]*+)(?:(\?[!\"$-~]*+))?+ HTTP/1\.([01])\r\n"
    + _OTHER
    + rb"(?:" + _HOST_LINE + _OTHER + rb"(?:" + _CONNECTION + _OTHER + rb")?+"
    + rb"|" + _CONNECTION + _OTHER + rb"(?:" + _HOST_LINE + _OTHER + rb")?+)?+"
    + rb"\r\n\Z",
    re.ASCII,
).match  # fmt: skip
_BARE = re.compile(rb"(?<!\r)\n|\x00|\r[^\n]|\n[ \t]").search


class Careful:
    """One plain head, taken apart.

    Attributes:
        is_head: the method is HEAD.
        path: from the slash on; of a head that was not odd `[A-Za-z0-9_.~/-]` only, else raw behind the first segment.
        query: with its question mark, or b"".
        host: as sent; b"" only in HTTP/1.0.
        close: the connection ends after this answer.
        form: the body of a POST, or None.
    """

    __slots__ = ("close", "form", "host", "is_head", "path", "query")

    def __init__(
        self, *, is_head: bool, path: bytes, query: bytes, host: bytes, close: bool, form: bytes | None = None
    ) -> None:
        self.is_head = is_head
        self.path = path
        self.query = query
        self.host = host
        self.close = close
        self.form = form


def judge(head: bytes) -> Careful | None:
    """Takes one complete head apart, or None when only h11 may."""
    if compiled:
        found = cython.declare(Plain)  # type: ignore[name-defined]  # noqa: F821
        if scan(head, True, cython.address(found)):  # a tenth of what the expression takes
            return Careful(
                is_head=head[0] == 72,
                path=head[found.slug - 1 : found.slug_end],
                query=head[found.slug_end : head.index(b" ", found.slug_end)],
                host=head[found.host : found.host_end],
                close=found.close,
            )
    match = None if is_crowded(head) else _CAREFUL(head)
    if match is None:
        return None
    method, path, query, minor, host_a, close_a, close_b, host_b = match.groups()
    host = host_a or host_b
    if host is None and minor == b"1":
        return None
    return Careful(
        is_head=method == b"HEAD",
        path=path,
        query=query or b"",
        host=host or b"",
        close=minor == b"0" or close_a is not None or close_b is not None,
    )


def is_crowded(head: bytes) -> bool:
    """Whether a head, from its request line to its blank line, has too many fields; a folded line counts as one."""
    return len(head) > FIELDS_MAX and head.count(b"\n") > FIELDS_MAX + 2


def could_be_plain(part: bytes, seen: int) -> bool:
    """Whether an incomplete head may still become plain; if not, h11 shall see it now, not when it is whole.

    `seen` bytes could, when they were all.
    """
    starts = part.startswith((b"GET /", b"HEAD /")) or b"GET /".startswith(part) or b"HEAD /".startswith(part)
    return starts and _BARE(part, seen, len(part) - 1 if part.endswith(b"\r") else len(part)) is None


def _class_of(byte: int) -> int:
    """Bits: 1 slug, 2 token, 4 query, 8 may start a special name, 16 header value, 32 host."""
    char = chr(byte)
    word = char.isascii() and (char.isalnum() or char in "_-")
    return (
        word * 1
        | (word or (char != "" and char in "!#$%&'*+.^`|~")) * 2
        | (0x21 <= byte <= 0x7E and char != "#") * 4
        | (char.lower() in "cteukhp") * 8
        | (byte == 9 or (byte >= 32 and byte != 127)) * 16
        | (char.isascii() and (char.isalnum() or char in ".-")) * 32
    )


_BYTES_MAX = cython.declare(cython.Py_ssize_t, HEAD_BYTES_MAX)
_FIELDS_MAX = cython.declare(cython.Py_ssize_t, FIELDS_MAX)
_CLASSES = cython.declare(bytes, bytes(_class_of(byte) for byte in range(256)))
if compiled:
    _CLASS = cython.declare(cython.p_uchar)
    _CLASS = _CLASSES

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def _is(s: cython.p_uchar, name: cython.p_char, k: cython.Py_ssize_t) -> cython.bint:
        """Whether k bytes spell `name`, in whatever case; `name` is letters in lower case, digits and hyphens."""
        j: cython.Py_ssize_t
        for j in range(k):
            if (s[j] | 32) != name[j]:
                return False
        return True

    @cython.cfunc
    @cython.exceptval(check=False)
    def _is_special(s: cython.p_uchar, k: cython.Py_ssize_t) -> cython.bint:
        """The names of `_SPECIAL`, by their lengths."""
        if k == 10:
            return _is(s, b"connection", 10) or _is(s, b"keep-alive", 10)
        if k == 4:
            return _is(s, b"host", 4)
        if k == 14:
            return _is(s, b"content-length", 14) or _is(s, b"http2-settings", 14)
        if k == 17:
            return _is(s, b"transfer-encoding", 17)
        if k == 7:
            return _is(s, b"upgrade", 7) or _is(s, b"trailer", 7)
        if k == 6:
            return _is(s, b"expect", 6)
        if k == 2:
            return _is(s, b"te", 2)
        return k == 16 and _is(s, b"proxy-connection", 16)

    _LOW = cython.declare(cython.ulonglong, 0x7F7F7F7F7F7F7F7F)
    _SPACES = cython.declare(cython.ulonglong, 0x6060606060606060)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _is_value(s: cython.p_uchar, i: cython.Py_ssize_t, k: cython.Py_ssize_t) -> cython.bint:
        """Whether k bytes are a header's value: no control character but the tab. Eight at a time (SWAR).

        With the high bits masked away no addition or subtraction carries from one byte into the next:
        `low + 0x60…` sets a byte's high bit unless it is below 0x20; `(low ^ 0x7f…) + 0x7f…` unless it is 0x7f.
        """
        word: cython.ulonglong = 0
        low: cython.ulonglong
        bad: cython.ulonglong
        end: cython.Py_ssize_t = i + k
        while i + 8 <= end:
            memcpy(cython.address(word), s + i, 8)
            low = word & _LOW
            bad = ~((low + _SPACES) & ((low ^ _LOW) + _LOW) | word)
            if bad & ~_LOW:
                break  # a tab, or worse: byte by byte
            i += 8
        while i < end:
            if not _CLASS[s[i]] & 16:
                return False
            i += 1
        return True

    @cython.cfunc
    @cython.exceptval(check=False)
    def scan(data: bytes, may_close: cython.bint, found: cython.pointer[Plain]) -> cython.bint:  # type: ignore[name-defined]  # noqa: F821
        """The language of `_KEEP` (or `_KEEP_OR_CLOSE`), read once from left to right.

        `data` ends with a NUL behind its last byte, as every bytes object does, so no class loop passes the end.
        """
        s: cython.p_uchar = data
        z: cython.Py_ssize_t = len(data)
        i: cython.Py_ssize_t
        a: cython.Py_ssize_t
        h: cython.Py_ssize_t
        g: cython.Py_ssize_t
        j: cython.Py_ssize_t
        fields: cython.Py_ssize_t = 1
        end: cython.p_uchar
        found.close = False
        if z < 28 or z > _BYTES_MAX or s[z - 1] != 10:
            return False
        if memcmp(s, b"GET /", 5) == 0:
            a = 5
        elif memcmp(s, b"HEAD /", 6) == 0:
            a = 6
        else:
            return False
        i = a
        while _CLASS[s[i]] & 1:
            i += 1
        if i == a or i - a > 64:
            return False
        found.slug = a
        found.slug_end = i
        if s[i] == 63:
            i += 1
            while _CLASS[s[i]] & 4:
                i += 1
        if i + 17 > z or memcmp(s + i, b" HTTP/1.1\r\nHost: ", 17) != 0:
            return False
        h = i + 17
        i = h
        while _CLASS[s[i]] & 32:
            i += 1
        if i == h:
            return False
        if s[i] == 58:
            g = i + 1
            i = g
            while 48 <= s[i] <= 57:
                i += 1
            if i == g or i - g > 5:
                return False
        if s[i] != 13 or s[i + 1] != 10:
            return False
        found.host = h
        found.host_end = i
        i += 2
        while s[i] != 13:
            j = i
            while _CLASS[s[i]] & 2:
                i += 1
            if i == j or s[i] != 58:
                return False
            if _CLASS[s[j]] & 8 and _is_special(s + j, i - j):
                if i - j != 10 or memcmp(s + j, b"Connection", 10) != 0:
                    return False
                if i + 14 < z and memcmp(s + i, b": keep-alive\r", 13) == 0:
                    pass
                elif may_close and i + 9 < z and memcmp(s + i, b": close\r", 8) == 0:
                    found.close = True
                else:
                    return False
            i += 1
            end = cython.cast(cython.p_uchar, memchr(s + i, 13, z - i))
            if end == cython.NULL or end[1] != 10 or not _is_value(s, i, end - (s + i)):
                return False
            i = end - s + 2
            fields += 1
        if fields > _FIELDS_MAX:
            return False
        return s[i + 1] == 10 and i + 2 == z


def plain(data: bytes) -> tuple[bytes, bytes] | None:
    """The common case, exactly one whole head that keeps the connection: (slug, Host)."""
    if compiled:
        found = cython.declare(Plain)  # type: ignore[name-defined]  # noqa: F821  head.pxd has it
        if not scan(data, False, cython.address(found)):
            return None
        return data[found.slug : found.slug_end], data[found.host : found.host_end]
    match = _KEEP(data)
    if match is None or _is_odd(data):
        return None
    return match[1], match[2]


def plain_or_close(data: bytes) -> tuple[bytes, bytes, bool] | None:
    """As `plain`, with `Connection: close` allowed: (slug, Host, whether the connection ends after it)."""
    if compiled:
        found = cython.declare(Plain)  # type: ignore[name-defined]  # noqa: F821
        if not scan(data, True, cython.address(found)):
            return None
        return data[found.slug : found.slug_end], data[found.host : found.host_end], found.close
    match = _KEEP_OR_CLOSE(data)
    if match is None or _is_odd(data):
        return None
    return match[1], match[2], (match.lastindex or 0) > 2


def _is_odd(data: bytes) -> bool:
    """What the expressions of `plain` let pass."""
    return 0 in data or 11 in data or 12 in data or 127 in data or len(data) > HEAD_BYTES_MAX or is_crowded(data)
