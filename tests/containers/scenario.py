"""What becomes of clicks and of the program in a container: `make container-test` builds the image and runs this.

As root, in a network of its own (in_container.sh), on real engines: `python -m tests.containers.scenario ROOT CONFIG
[EMBEDDED_ROOT EMBEDDED_CONFIG]`. Prints each step's facts; a broken rule ends it with exit status 1.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.containers.runtime import Container, Image
from tests.containers.stores import SecuredStores

UID = 10001
TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html"
LIMIT_S = 90.0
STOP_S = 150.0  # what compose.yaml and the manifests give at least
HEALTHY = "/opt/boltlink/etc/container/healthy"
FILE = "/run/secrets/boltlink.env"


def ask(path: str, port: int = 8000, headers: dict[str, str] | None = None) -> tuple[int, bytes, str | None]:
    """One request on a connection of its own: status, body, Location."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"User-Agent": "Mozilla/5.0 Firefox/140.0", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("Location")
    finally:
        connection.close()


def wait_for(fact: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Returns when it is true."""
    deadline = time.monotonic() + limit_s
    while not fact():
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(0.05)


class Visitors:
    """Ask for a link, each time on a new connection, until they are told to end."""

    def __init__(self, slug: str) -> None:
        self.received = self.unanswered = self.refused = 0
        self._path, self._end, self._lock = f"/{slug}", threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._end.wait(0.002):
            outcome = "received"
            try:
                if ask(self._path)[2] != TARGET:
                    outcome = "unanswered"
            except ConnectionRefusedError:
                outcome = "refused"
            except (OSError, http.client.HTTPException):
                outcome = "unanswered"
            with self._lock:
                setattr(self, outcome, getattr(self, outcome) + 1)

    def end(self) -> None:
        """They are gone."""
        self._end.set()
        for thread in self._threads:
            thread.join()


class Stage:
    """The image, the stores and the volume of one run."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.image, self.folder, self.count = image, folder, 0
        self.containers: list[Container] = []
        self.secrets = self.folder / "secrets"
        self.secrets.mkdir()
        self.volume = self.make_volume("volume")

    def make_volume(self, name: str, owner: str = f"root:{UID}", mode: int = 0o2775) -> Path:
        """A volume as the kubelet makes one for `fsGroup`: root's, and open to the group."""
        volume = self.folder / name
        volume.mkdir()
        subprocess.run(["chown", owner, str(volume)], check=True)
        volume.chmod(mode)
        return volume

    def regroup(self) -> None:
        """All of the volume is the group's, as the kubelet makes it when the policy for `fsGroup` is Always."""
        subprocess.run(["chgrp", "-R", str(UID), str(self.volume)], check=True)
        subprocess.run(["chmod", "-R", "g+rwX", str(self.volume)], check=True)

    def write_settings(self, text: str) -> None:
        """The file of settings, as Kubernetes has secrets: root's, and readable for the group."""
        file = self.secrets / "boltlink.env"
        file.write_text(text)
        subprocess.run(["chown", f"root:{UID}", str(file)], check=True)
        file.chmod(0o440)

    def container(self, **how: object) -> Container:
        """A container, started."""
        self.count += 1
        environ = {"BOLTLINK_SETTINGS_FILE": FILE}
        given = {"volume": self.volume, "secrets": self.secrets, "environ": environ, **how}
        made = Container(self.image, self.folder / f"c{self.count}", **given)  # type: ignore[arg-type]
        self.containers.append(made)
        return made.start()

    def ready(self, **how: object) -> tuple[Container, float]:
        """A container that is ready, and after how many seconds it was."""
        began = time.monotonic()
        made = self.container(**how)
        wait_for(lambda: '"event": "ready"' in made.out or made.is_over())
        assert not made.is_over(), made.out[-2000:] + made.err
        assert ask("/ready")[0] == 200
        return made, time.monotonic() - began

    def refuses(self, status: int, *words: str, **how: object) -> str:
        """A container that ends with this status and one line that holds the words."""
        made = self.container(**how)
        assert made.wait(LIMIT_S) == status, made.out + made.err
        lines = made.err.strip().splitlines()
        assert len(lines) == 1, made.err
        assert all(word in lines[0] for word in words), lines[0]
        return lines[0]


def clicks(container: Container, slug: str) -> int:
    """What the statistics say."""
    return int(json.loads(container.run("boltlink", "stats", slug, "--json"))["clicks"])


def in_statistics(container: Container, slug: str, visitors: Visitors, before: int) -> int:
    """Waits until all is counted that was received; what is counted."""
    container.run("boltlink", "journal", "drain")
    counted = clicks(container, slug) - before
    assert visitors.received <= counted <= visitors.received + visitors.unanswered, (counted, vars(visitors))
    return counted


def first_start(stage: Stage, stores: SecuredStores) -> str:
    """Ready, healthy, a link that is followed and counted; nothing lies open; an orphan is reaped."""
    container, took_s = stage.ready()
    print(f"ready after {took_s:.2f} s", flush=True)
    assert "200" in container.run(HEALTHY)
    slug = str(json.loads(container.run("boltlink", "shorten", TARGET, "--json"))["slug"])
    assert ask(f"/{slug}")[2] == TARGET
    wait_for(lambda: clicks(container, slug) == 1)
    assert ask("/metrics", 8001)[0] == 200
    container.run("sh", "-c", "touch /x", status=1)
    container.run("sh", "-c", "(sh -c 'sleep 0.2' &) ; exit 0")
    time.sleep(0.5)
    seen = container.run("sh", "-c", "cat /proc/[0-9]*/stat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '")
    assert not re.search(r"\) Z ", seen), "a zombie"
    assert "tini" in container.run("cat", "/proc/1/cmdline")
    assert not [password for password in stores.passwords if password in seen]
    assert not [password for password in stores.passwords if password in container.out]
    lines = [json.loads(line) for line in container.out.splitlines()]
    assert {"supervisord", "web_0", "aggregator", "up"} <= {line["program"] for line in lines}
    assert stage.refuses(1, "/var/lib/boltlink/state")  # a second one on this volume
    status, stop_s = container.stop(STOP_S)
    assert status == 0
    print(f"healthy, counted, private; stopped in {stop_s:.2f} s", flush=True)
    return slug


def stop_under_traffic(stage: Stage, slug: str) -> None:
    """SIGTERM while visitors come: exit status 0, and each click is counted after a start on the same volume."""
    container, _ = stage.ready()
    before = clicks(container, slug)
    visitors = Visitors(slug)
    wait_for(lambda: visitors.received > 500)
    status, stop_s = container.stop(STOP_S)
    visitors.end()
    assert status == 0
    container, took_s = stage.ready()
    counted = in_statistics(container, slug, visitors, before)
    print(
        f"stopped under traffic in {stop_s:.2f} s, ready again after {took_s:.2f} s: {visitors.received} received, "
        f"{visitors.unanswered} unanswered, {counted} counted",
        flush=True,
    )
    container.stop(STOP_S)


def killed_without_mongodb(stage: Stage, stores: SecuredStores, slug: str) -> None:
    """kill -9 while MongoDB is away; `journal drain` on the volume that is left counts every click."""
    container, _ = stage.ready()
    before = clicks(container, slug)
    stores.stop_mongodb()
    visitors = Visitors(slug)
    wait_for(lambda: visitors.received > 500)
    container.signal("KILL")
    assert container.wait() == 137
    visitors.end()
    drain = stage.container(command=["tini", "--", "boltlink", "journal", "drain", "--limit", "3"])
    assert drain.wait() == 1
    assert "clicks wait" in drain.err
    late = stage.container()
    wait_for(lambda: '"event": "not ready within' in late.out)
    assert ask("/health")[0] == 200
    assert ask("/ready")[0] == 503
    assert ask(f"/{slug}")[2] == TARGET  # from Redis
    late.signal("KILL")
    assert late.wait() == 137
    stores.start_mongodb()
    drain = stage.container(command=["tini", "--", "boltlink", "journal", "drain"])
    assert drain.wait() == 0, drain.err
    container, _ = stage.ready()
    counted = clicks(container, slug) - before
    assert visitors.received + 1 <= counted <= visitors.received + 1 + visitors.unanswered, (counted, vars(visitors))
    print(f"killed without MongoDB: {visitors.received} received, {counted} counted by drain", flush=True)
    container.stop(STOP_S)


def half_a_cpu(stage: Stage) -> None:
    """A quota of the cgroup: as many web processes as it grants, two at least."""
    for cpus in (0.5, 1.5):
        container, took_s = stage.ready(cpus=cpus)
        names = {row["name"] for row in json.loads(container.run("boltlink", "status", "--json"))["processes"]}
        granted = container.run(
            "/opt/boltlink/.venv/bin/python", "-c", "import app.cpu_grant as g; print(g.granted_cpus())"
        )
        assert {"web_0", "web_1"} <= names
        assert "web_2" not in names
        status, stop_s = container.stop(STOP_S)
        assert status == 0
        print(
            f"{cpus} CPU: {granted.strip()} granted, ready after {took_s:.2f} s, stopped in {stop_s:.2f} s", flush=True
        )
    container = stage.container(cpus=0.5)
    time.sleep(0.2)  # nothing of it listens to signals yet
    container.signal("TERM")
    assert container.wait(STOP_S) == 143
    log = stage.volume / "state/log/supervisord.log"
    before = log.stat().st_size
    container = stage.container(cpus=0.5)
    wait_for(lambda: "supervisord started" in log.read_text()[before:])
    container.signal("TERM")
    assert container.wait(STOP_S) == 1
    assert "interrupted while starting; everything was stopped" in container.err


def refusals(stage: Stage) -> None:
    """What cannot work says so in one line."""
    for line in (
        stage.refuses(1, "cannot be made", volume=stage.make_volume("foreign", "root:root", 0o755)),
        stage.refuses(1, "Read-only", is_read_only=True, volume=stage.make_volume("fresh")),
        stage.refuses(1, "cannot be written", is_read_only=True),
        stage.refuses(2, FILE, secrets=None),
    ):
        print(f"refused: {line}", flush=True)
    file = stage.secrets / "boltlink.env"
    file.chmod(0o444)
    print(f"refused: {stage.refuses(2, 'chmod o=')}", flush=True)
    file.chmod(0o440)


def embedded(image: Image, folder: Path) -> None:
    """Everything in one container, engines too."""
    stage = Stage(image, folder)
    container, took_s = stage.ready(environ={}, secrets=None)
    slug = str(json.loads(container.run("boltlink", "shorten", TARGET, "--json"))["slug"])
    visitors = Visitors(slug)
    wait_for(lambda: visitors.received > 200)
    status, stop_s = container.stop(STOP_S)
    visitors.end()
    assert status == 0
    container, _ = stage.ready(environ={}, secrets=None)
    counted = in_statistics(container, slug, visitors, 0)
    print(
        f"embedded: ready after {took_s:.2f} s, stopped under traffic in {stop_s:.2f} s, {visitors.received} received, "
        f"{counted} counted",
        flush=True,
    )
    lines = [json.loads(line) for line in container.out.splitlines()]
    assert {"mongod", "redis"} <= {line["program"] for line in lines}
    assert container.stop(STOP_S)[0] == 0


def run(arguments: list[str]) -> None:
    """Everything, in order."""
    images = [
        Image(Path(root), json.loads(Path(config).read_text())["Docker"]["config"])
        for root, config in zip(arguments[::2], arguments[1::2], strict=True)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "main").mkdir()
        stage = Stage(images[0], folder / "main")
        stores = SecuredStores(folder / "stores")
        try:
            stage.write_settings(stores.settings)
            slug = first_start(stage, stores)
            stage.regroup()
            stop_under_traffic(stage, slug)
            Path("/proc/sys/net/ipv4/tcp_migrate_req").write_text("1")
            stop_under_traffic(stage, slug)
            killed_without_mongodb(stage, stores, slug)
            half_a_cpu(stage)
            refusals(stage)
        finally:
            for container in stage.containers:
                container.discard()
            stores.close()
        if images[1:]:
            (folder / "embedded").mkdir()
            embedded(images[1], folder / "embedded")


if __name__ == "__main__":
    run(sys.argv[1:])
