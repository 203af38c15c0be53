"""10,000 URLs as people wrote them, found in documentation on this machine: shortened, followed, counted."""

from __future__ import annotations

import http.client
import json
import re
import sysconfig
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from app.links import TargetError, normalise_target
from tests import fetch
from tests.conftest import wait_for
from tests.needs import skip
from tests.system.conftest import Tree

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

S = TypeVar("S")
T = TypeVar("T")
WANTED, BATCH = 10_000, 500
AT_ONCE = 8
PLACES = (Path("/usr/share/doc"), Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("stdlib")))
TEXTS = {".py", ".md", ".rst", ".txt", ".html", ".json", ""}
FILE_BYTES_MAX = 4 * 1024 * 1024
URL = re.compile(r"https?://[^\s<>\"'`\\)\]}|^]{4,400}")


def test_every_real_url_is_shortened_followed_and_counted_once(running: Tree) -> None:
    urls = found_urls()
    if len(urls) < WANTED:
        reason = f"only {len(urls)} URLs in {', '.join(map(str, PLACES))}; python3-doc has more"
        skip(reason)
    batches = [urls[start : start + BATCH] for start in range(0, WANTED, BATCH)]
    slugs = [slug for some in in_parallel(running, Client.shorten, batches) for slug in some]
    assert len(set(slugs)) == WANTED
    assert in_parallel(running, Client.follow, slugs) == urls
    wait_for(lambda: counted(running) >= WANTED)
    assert in_parallel(running, Client.clicks, slugs) == [1] * WANTED


def found_urls() -> list[str]:
    """The first WANTED distinct URLs that are legal as they stand, in the order of paths."""
    urls: dict[str, None] = {}
    for text in texts():
        for match in URL.finditer(text):
            url = match[0].rstrip(".,;:")
            if url not in urls and is_kept(url):
                urls[url] = None
                if len(urls) == WANTED:
                    return list(urls)
    return list(urls)


def is_kept(url: str) -> bool:
    try:
        return normalise_target(url) == url and urlsplit(url).hostname not in ("127.0.0.1", "localhost")
    except (TargetError, ValueError):
        return False


def texts() -> Iterator[str]:
    for place in PLACES:
        for path in sorted(place.rglob("*")) if place.is_dir() else []:
            if path.suffix in TEXTS and path.is_file() and path.stat().st_size <= FILE_BYTES_MAX:
                yield path.read_text(errors="ignore")


class Client:
    """Calls on one kept connection; httpx would take ten times as long for 20,000 of them."""

    def __init__(self, tree: Tree) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", tree.port, timeout=30)
        self._headers = {"Authorization": f"Bearer {tree.key}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None) -> tuple[http.client.HTTPResponse, Any]:
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        return answer, json.loads(text) if text else None

    def close(self) -> None:
        self._connection.close()

    def shorten(self, urls: list[str]) -> list[str]:
        answer, body = self.call("POST", "/api/v1/links/batch", {"links": [{"target": url} for url in urls]})
        assert answer.status == 200, body
        return [result["link"]["slug"] for result in body["results"]]

    def follow(self, slug: str) -> str | None:
        answer, _ = self.call("GET", f"/{slug}")
        return answer.headers["Location"]

    def clicks(self, slug: str) -> int:
        answer, stats = self.call("GET", f"/api/v1/links/{slug}/stats")
        assert answer.status == 200, stats
        return int(stats["clicks"])


def in_parallel(tree: Tree, work: Callable[[Client, S], T], items: list[S]) -> list[T]:
    """The result of each item in order, on AT_ONCE connections."""
    parts = [items[start::AT_ONCE] for start in range(AT_ONCE)]

    def run(part: list[S]) -> list[T]:
        client = Client(tree)
        try:
            return [work(client, item) for item in part]
        finally:
            client.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(run, parts))
    return [done[n % AT_ONCE][n // AT_ONCE] for n in range(len(items))]


def counted(tree: Tree) -> int:
    """Records applied to statistics so far."""
    text = fetch.get(tree.metrics_url).text
    match = re.search(r"^boltlink_clicks_aggregated_total (\S+)$", text, re.MULTILINE)
    return int(float(match[1])) if match else 0
