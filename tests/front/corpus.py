"""Heads that a server must judge right: plain ones, odd ones, and the known ways to smuggle a request.

Each entry is a client's whole stream. New inputs that ever failed are added below, with what was wrong.
"""

from __future__ import annotations

from itertools import product

from tests.front.harness import HOST, OK

__all__ = ["STREAMS"]

GET = b"GET /abc7 HTTP/1.1\r\n"
END = b"\r\n"
POST = b"POST /api/x HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"

_LINES = [
    b"GET /abc7 HTTP/1.1", b"HEAD /abc7 HTTP/1.1", b"GET /abc7?x=1&y=%20 HTTP/1.1", b"GET /nosuch HTTP/1.1", b"GET / HTTP/1.1",
    b"GET /abc7 HTTP/1.0", b"HEAD /abc7 HTTP/1.0", b"GET /abc7/x HTTP/1.1", b"GET /%61bc7 HTTP/1.1", b"GET //abc7 HTTP/1.1",
    b"GET /abc7%2f HTTP/1.1", b"GET /./abc7 HTTP/1.1", b"GET /../abc7 HTTP/1.1", b"GET /abc7/.. HTTP/1.1", b"GET /abc7#f HTTP/1.1",
    b"GET /abc7?a#f HTTP/1.1", b"GET http://s.example/abc7 HTTP/1.1", b"GET http://other/abc7 HTTP/1.1", b"GET https://s.example HTTP/1.1",
    b"OPTIONS * HTTP/1.1", b"GET * HTTP/1.1", b"CONNECT s:80 HTTP/1.1", b"TRACE /abc7 HTTP/1.1", b"POST /abc7 HTTP/1.1",
    b"get /abc7 HTTP/1.1", b"Get /abc7 HTTP/1.1", b"GET  /abc7 HTTP/1.1", b"GET /abc7  HTTP/1.1", b"GET\t/abc7 HTTP/1.1",
    b"GET /abc7\tHTTP/1.1", b"GET /abc7 HTTP/1.1 ", b"GET /abc7 HTTP/1.2", b"GET /abc7 HTTP/2.0", b"GET /abc7 HTTP/0.9", b"GET /abc7",
    b"GET /abc7 http/1.1", b"GET /abc7 HTTP/1.", b"GET /abc7 HTTP/11", b"GET /abc7 HTTP/1.10", b"GET /abc7 XTTP/1.1", b" GET /abc7 HTTP/1.1",
    b"\tGET /abc7 HTTP/1.1", b"GET /ab\x80c HTTP/1.1", b"GET /abc7?\x7f HTTP/1.1", b"GET /abc7?\x00 HTTP/1.1", b"GET /abc7?a b HTTP/1.1",
    b"GET abc7 HTTP/1.1", b"GET ?abc7 HTTP/1.1", b"GET /api/v1/links HTTP/1.1", b"GET /API/v1 HTTP/1.1", b"GET /api%2fv1 HTTP/1.1",
    b"GET /.well-known/x HTTP/1.1", b"GET /robots.txt HTTP/1.1", b"GET /" + b"a" * 64 + b" HTTP/1.1", b"GET /" + b"a" * 65 + b" HTTP/1.1",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1", b"PRI * HTTP/2.0", b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]  # fmt: skip

_HEADERS = [
    b"Connection: keep-alive\r\n", b"Connection: close\r\n", b"connection: Close\r\n", b"Connection:close\r\n", b"Connection: \tclose \r\n",
    b"Connection: keep-alive, close\r\n", b"Connection: close, keep-alive\r\n", b"Connection: keep-alive\r\nConnection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n",
    b"Connection: x-mine\r\n", b"Connection:\r\n", b"Connection : close\r\n", b"Connectionx: close\r\n", b"Proxy-Connection: close\r\n",
    b"Keep-Alive: timeout=5\r\n", b"TE: trailers\r\n", b"Trailer: X\r\n", b"Expect: 100-continue\r\n", b"Expect: 200-ok\r\n",
    b"Upgrade: websocket\r\n", b"Upgrade-Insecure-Requests: 1\r\n", b"Host: other\r\n", b"HOST: other\r\n", b"Host : other\r\n",
    b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"content-LENGTH: 5\r\n", b"Content-Length: +5\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: 5, 5\r\n", b"Content-Length: 5\r\nContent-Length: 5\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Content-Length: 0x5\r\n", b"Content-Length: 5 \r\n", b"Content-Length:5\r\n", b"Content-Length : 5\r\n", b" Content-Length: 5\r\n",
    b"Content-Length:\r\n", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: 1_0\r\n", b"Content_Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding: chunked, chunked\r\n", b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding:\tchunked\r\n", b"transfer-encoding: CHUNKED\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"X: a\r\nTransfer-Encoding\r\n : chunked\r\n",
    b"X: a\r\n b\r\n", b"X: a\r\n\tContent-Length: 5\r\n", b"X: a\nContent-Length: 5\r\n", b"X: a\rContent-Length: 5\r\n", b"X: a\n\nGET /evil HTTP/1.1\r\n",
    b"X: a\x00b\r\n", b"X\x00: b\r\n", b"X: a\x01b\r\n", b"X: a\x0bb\r\n", b"X: a\x0cb\r\n", b"X: a\x1fb\r\n", b"X: a\x7fb\r\n", b"X: \xff\xfe\r\n", b"X: \xc2\xa0\r\n",
    b"X\"y: b\r\n", b"X(y): b\r\n", b"X y: b\r\n", b": b\r\n", b"nocolon\r\n", b"X:\r\n", b"X: \r\n", b"X:\t\r\n", b"X :y\r\n", b"\r: x\r\n", b"X: " + b"v" * 9000 + b"\r\n",
    b"X: " + b"v" * 17000 + b"\r\n", b"".join(b"X%d: y\r\n" % n for n in range(90)), b"Cookie: a=b; c=\"d\"\r\n", b"Referer: https://x.example/?q=a b\r\n",
    b"X-Forwarded-For: 1.2.3.4\r\n", b"Sec-WebSocket-Key: x\r\n", b"Accept: */*\r\nUser-Agent: x\r\n", b"user-agent: Mozilla/5.0 (X11)\r\nACCEPT:text/html\r\n",
    b"User-Agent: a\rb\r\n", b"User-Agent: a\nb\r\n", b"Accept: a\x00\r\n", b"Accept-Language: \x0b\r\n", b"Referer: \rX: y\r\n", b"Accept-Encoding: a\r\r\n",
]  # fmt: skip

_FRAGMENTS = [
    b"", b"\r\n", b"\r\n\r\n", b"\n\n", b"G", b"GET", b"GET /abc7", b"GET /abc7 HTTP/1.1\r", OK[:-1], OK[:-2], OK[:-3], b"HEAD /ab", b"POST /api",
    b"\r\n" + OK, b"\r\n\r\n" + OK, b"\n" + OK, b"\r" + OK, OK * 3, OK * 70, OK + b"XX", OK + b"\r\n" + OK, OK + b"\n" + OK, OK + b" " + OK,
    b"GET /abc7 HTTP/1.1\nHost: s.example\n\n", b"GET /abc7 HTTP/1.1\r\nHost: s.example\n\r\n", GET + END, GET + b"Host:\r\n" + END, GET + b"Host: a, b\r\n" + END,
    GET + b"Host: a b\r\n" + END, GET + b"Host: [::1]:80\r\n" + END, GET + b"Host: [::1\r\n" + END, GET + b"Host: s.example:\r\n" + END, GET + b"Host: s.example:x\r\n" + END,
    GET + b"Host: s.example:999999\r\n" + END, GET + b"Host: user@s.example\r\n" + END, GET + b"Host: s.example/\r\n" + END, GET + HOST + HOST + END,
    POST + b"Content-Length: 5\r\n\r\nhello" + OK, POST + b"Content-Length: 5\r\n\r\nhel", POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n" + OK, POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n" + OK,
    POST + CHUNKED + b"\r\n5;ext=1\r\nhello\r\n0\r\n\r\n" + OK, POST + CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n" + OK, POST + CHUNKED + b"\r\n-1\r\nhello", POST + CHUNKED + b"\r\n5\nhello\n0\n\n" + OK,
    POST + CHUNKED + b"\r\n5\r\nhelloXX0\r\n\r\n", POST + CHUNKED + b"\r\nfffffffffffffffff\r\n", POST + b"Content-Length: 44\r\n\r\n" + OK + OK, OK + POST + b"Content-Length: 5\r\n\r\nhello" + OK * 2,
    OK + POST + b"Content-Length: 2000000\r\n\r\n" + OK, POST + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello" + OK, POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + OK,
    b"GET /api/x HTTP/1.1\r\n" + HOST + END + OK, OK + b"GET /api/x HTTP/1.1\r\n" + HOST + END + OK, b"GET /nosuch HTTP/1.1\r\n" + HOST + END + OK + b"GET /api/x HTTP/1.1\r\n" + HOST + END + OK,
    b"GET /nosuch HTTP/1.1\r\n" + HOST + END + b"GET /other HTTP/1.1\r\n" + HOST + END + OK, (b"GET /nosuch HTTP/1.1\r\n" + HOST + END) * 40 + OK, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /abc7 HTTP/1.0\r\n\r\n" + OK, b"GET /abc7 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + OK, b"GET /abc7\r\n\r\n", b"GET /abc7 HTTP/1.1\r\n" + b"A" * 20000, b"A" * 20000, b"GET /" + b"a" * 20000,
]  # fmt: skip

#: Every stream; more than 300.
STREAMS: list[bytes] = [
    *_FRAGMENTS,
    *(line + b"\r\n" + HOST + END + OK for line in _LINES),
    *(GET + HOST + header + END + OK for header in _HEADERS),
    *(GET + header + HOST + END + b"hello" + OK for header in _HEADERS),
    *(line + b"\r\n" + header + HOST + END for line, header in product(_LINES[:6], _HEADERS[:24])),
]
