"""The real tree with a receiver behind TLS: every acknowledged change arrives, whatever is killed or stands still."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import httpx
import pytest

from tests import fetch
from tests.conftest import wait_for
from tests.outbound.test_fetch import make_certificate
from tests.system.conftest import Tree, make_tree
from tests.webhooks.receiver import Got, Receiver, answer_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html"
STILL_S = 17.0  # a claim holds for 15
KILLS = 4
CALLERS = 3


class SecureReceiver(Receiver):
    """A receiver in a thread of its own, behind TLS; it fails now and then, and often hears without an answer."""

    def __init__(self, certificate: Path) -> None:
        super().__init__()
        self.is_hanging = False
        self._random = Random(11)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve)
        self.answer = self._moody

    def _moody(self, got: Got) -> bytes | None:
        if self.is_hanging:
            return None
        return answer_of(204) if self._random.random() < 0.8 else self._random.choice([answer_of(500), b""])

    def _serve(self) -> None:
        async def main() -> None:
            server = await asyncio.start_server(self.on_client, "127.0.0.1", 0, ssl=self._tls)
            self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
            self._stop = asyncio.Event()
            self._ready.set()
            await self._stop.wait()
            self.end()
            server.close()

        self._loop.run_until_complete(main())
        self._loop.run_until_complete(asyncio.sleep(0.1))
        self._loop.close()

    def __enter__(self) -> SecureReceiver:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[SecureReceiver]:
    with SecureReceiver(make_certificate(tmp_path)) as receiver:
        yield receiver


@pytest.fixture
def tree(tmp_path: Path, receiver: SecureReceiver) -> Iterator[Tree]:
    for tree in make_tree(
        BOLTLINK_JOBS="2",
        BOLTLINK_WEB_PROCESSES="2",
        BOLTLINK_WEBHOOK_NETWORKS="127.0.0.0/8",
        SSL_CERT_FILE=str(tmp_path / "pair.pem"),
    ):
        tree.up()
        yield tree


def make_until(tree: Tree, stop: threading.Event) -> list[str]:
    """Makes links one after another; the slugs of those that were acknowledged."""
    headers, made = {"Authorization": f"Bearer {tree.key}"}, list[str]()
    while not stop.is_set():
        try:
            answer = fetch.post(f"{tree.url}/api/v1/links", json={"target": TARGET}, headers=headers)
        except httpx.HTTPError:
            continue  # the process that had it was killed: nobody knows
        if answer.status_code == 201:
            made.append(answer.json()["slug"])
        time.sleep(0.1)
    return made


def test_every_acknowledged_change_arrives_whatever_is_killed_or_stands_still(
    tree: Tree, receiver: SecureReceiver
) -> None:
    headers = {"Authorization": f"Bearer {tree.key}"}
    hook = fetch.post(f"{tree.url}/api/v1/webhooks", json={"url": receiver.url}, headers=headers).json()
    stop, random = threading.Event(), Random(5)
    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(make_until, tree, stop) for _ in range(CALLERS)]
        wait_for(lambda: len(receiver.got) > 50)
        still = tree.pids()["jobs_0"]
        os.kill(still, signal.SIGSTOP)
        begun_s = time.monotonic()
        for _ in range(KILLS):
            time.sleep(1.0)
            pids = tree.pids()
            for name in ("jobs_1", random.choice(["web_0", "web_1"])):
                os.kill(pids[name], signal.SIGKILL)
        time.sleep(max(0.0, begun_s + STILL_S - time.monotonic()))
        os.kill(still, signal.SIGCONT)
        stop.set()
        made = {slug for call in calls for slug in call.result()}
    assert len(made) > 100

    def heard() -> set[str]:
        return {got.event["data"]["slug"] for got in list(receiver.got)}

    wait_for(lambda: made <= heard(), limit_s=90)
    got = list(receiver.got)
    assert all(one.is_signed_by(hook["secret"]) for one in got)
    by_id = {one.id: one.event["data"]["slug"] for one in got}
    assert len(set(by_id.values())) == len(by_id)  # whatever came twice came under the same id
    page = fetch.get(f"{tree.url}/api/v1/jobs", params={"limit": 500, "state": "done"}, headers=headers).json()
    wait_for(lambda: fetch.get(f"{tree.url}/api/v1/jobs?state=running", headers=headers).json()["items"] == [])
    assert all(job["attempts"] >= 1 for job in page["items"])

    # Told to end while nobody answers: what is held is given back. A webhook of its own, as others' work is left.
    fetch.post(f"{tree.url}/api/v1/webhooks", json={"url": receiver.url, "tag": "late"}, headers=headers)
    receiver.is_hanging = True
    link = {"target": TARGET, "tags": ["late"]}
    slug = fetch.post(f"{tree.url}/api/v1/links", json=link, headers=headers).json()["slug"]
    wait_for(lambda: slug in heard())
    before = tree.pids()
    for name in ("jobs_0", "jobs_1"):
        os.kill(before[name], signal.SIGTERM)
    receiver.is_hanging = False
    # supervisord kills after 15 seconds: a killed one says nothing
    wait_for(lambda: all('"stopped"' in (tree.state / "log" / f"jobs_{n}.log").read_text() for n in (0, 1)))

    def delivered() -> bool:
        path = f"{tree.url}/api/v1/webhooks/{hook['id']}/deliveries?limit=1"
        (newest,) = fetch.get(path, headers=headers).json()["items"]
        payload = fetch.get(f"{path.partition('?')[0]}/{newest['id']}", headers=headers).json()["payload"]
        return slug in payload and newest["state"] == "delivered"

    wait_for(delivered, limit_s=60)
    metrics = fetch.get(tree.metrics_url).text
    assert 'boltlink_jobs_total{kind="webhook",result="done"}' in metrics
    logs = "".join(path.read_text() for path in (tree.state / "log").glob("*.log"))
    assert hook["secret"].removeprefix("whsec_") not in logs
