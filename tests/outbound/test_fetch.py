"""Asking other machines: what may be asked, and the limits of an answer."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.outbound import Fetcher, FetchError
from app.outbound.fetch import BODY_BYTES_MAX


@asynccontextmanager
async def serving(answer: bytes, tls: ssl.SSLContext | None = None, *, pause_s: float = 0.0) -> AsyncIterator[str]:
    """A server that sends these bytes to whoever asks, slowly if there is a pause behind each."""

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for at in range(0, len(answer), 1 if pause_s else len(answer)):
                writer.write(answer[at : at + 1] if pause_s else answer)
                await writer.drain()
                await asyncio.sleep(pause_s)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(on_client, "127.0.0.1", 0, ssl=tls)
    async with server:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def http(body: bytes, *, length: int | None = None, fields: bytes = b"", status: bytes = b"200 OK") -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, size, fields, body)


@pytest.mark.parametrize(
    ("url", "is_open"),
    [
        ("https://login.example.com/keys?a=b", (True, True)),
        ("https://10.0.0.1/keys", (True, True)),
        ("http://127.0.0.1:8080/keys", (False, True)),
        ("http://[::1]:8080/keys", (False, True)),
        ("http://localhost/keys", (False, True)),
        ("http://127.0.0.1.evil.example/", (False, False)),
        ("http://localhost.evil.example/", (False, False)),
        ("http://0.0.0.0/", (False, False)),
        ("http://192.168.0.1/", (False, False)),
        ("ftp://localhost/", (False, False)),
        ("file:///etc/passwd", (False, False)),
        ("https://", (False, False)),
        ("https://a b.example/", (False, False)),
        ("https://a.example/\r\nX: y", (False, False)),
        ("https://user@a.example/", (False, False)),
        ("https://a.example/#x", (False, False)),
        ("https://a.example:port/", (False, False)),
        ("https://é.example/", (False, False)),
        ("//a.example/", (False, False)),
        ("", (False, False)),
    ],
)
def test_tls_or_this_machine_where_it_is_allowed(url: str, is_open: tuple[bool, bool]) -> None:
    async def scenario() -> None:
        for allows_http, is_right in zip((False, True), is_open, strict=True):
            fetcher = Fetcher(allows_http=allows_http)
            if is_right:
                assert fetcher.check(url) == url
            else:
                with pytest.raises(FetchError):
                    fetcher.check(url)

    asyncio.run(scenario())


def test_an_answer_is_taken_whatever_its_status_and_redirects_are_not_followed() -> None:
    async def scenario() -> None:
        fetcher = Fetcher(allows_http=True)
        async with serving(http(b"{}")) as url:
            assert await fetcher.fetch(url) == (200, b"{}")
            assert await fetcher.fetch(url, form={"a": "b&c"}) == (200, b"{}")
        async with serving(http(b"no", status=b"400 Bad Request")) as url:
            assert await fetcher.fetch(url) == (400, b"no")
        async with serving(http(b"", status=b"302 Found", fields=b"Location: http://127.0.0.1:1/\r\n")) as url:
            assert (await fetcher.fetch(url)).status == 302

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "pause_s"),
    [
        (http(b"x" * (BODY_BYTES_MAX + 1)), 0.0),
        (http(b"", length=10**12), 0.0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 9, 0.0),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, 0.0),
        (http(b"x" * 1000), 0.05),
        (http(b"x", length=2), 0.0),
        (b"", 0.0),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 0.0),
    ],
    ids=["long", "announced", "chunked", "head", "slow", "cut", "nothing", "other"],
)
def test_what_is_too_long_or_too_slow_or_no_answer_ends(answer: bytes, pause_s: float) -> None:
    async def scenario() -> None:
        async with serving(answer or b" ", pause_s=pause_s) as url:
            with pytest.raises(FetchError) as caught:
                await Fetcher(allows_http=True, answer_s=0.5).fetch(f"{url}?code=secret")
            assert "secret" not in str(caught.value)

    asyncio.run(scenario())


def test_nobody_there_is_an_error() -> None:
    async def scenario() -> None:
        for url in ("http://127.0.0.1:1/", "https://nowhere.invalid/"):
            with pytest.raises(FetchError):
                await Fetcher(allows_http=True, answer_s=1.0).fetch(url)

    asyncio.run(scenario())


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1, with its key, that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "pair.pem"
    path.write_bytes(secret + made.public_bytes(pem))
    return path


ASK = """
import asyncio, sys
from app.outbound import Fetcher, FetchError

async def ask():
    try:
        print((await Fetcher(allows_http=False).fetch(sys.argv[1])).status)
    except FetchError as error:
        print(error.reason)

asyncio.run(ask())
"""


def test_a_certificate_must_be_of_somebody_who_is_trusted(tmp_path: Path) -> None:
    path = make_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(path)

    async def scenario() -> None:
        async with serving(http(b"{}"), tls) as url:
            for environ, said in (({}, "CERTIFICATE_VERIFY_FAILED"), ({"SSL_CERT_FILE": str(path)}, "200")):
                done = await asyncio.to_thread(
                    subprocess.run,
                    [sys.executable, "-c", ASK, url],
                    env={**os.environ, **environ},
                    capture_output=True,
                    text=True,
                    check=True,
                )
                assert said in done.stdout, done.stderr

    asyncio.run(scenario())
