"""`boltlink doctor` with real causes: each is named, says what it means and what to do; and all is well where it is."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.cli.doctor import CHECKS
from app.cli.doctor.findings import State
from app.cli.doctor.machine import COMPILED, SYSCTL, about_huge_pages, about_kernel
from app.cli.doctor.settings import about_names, about_settings
from app.cli.doctor.stores import about_stores
from app.cli.doctor.tree import about_certificate
from app.journal import REDIRECT_GET, Journal, create_source
from app.links import INDEXES as LINK_INDEXES
from app.links import LINKS
from app.schema import SHAPE
from app.settings import Settings
from app.stores import make_schema, mongodb_url, redis_url
from app.stores.embedded import find_engine
from app.tree import Tree
from tests.cli.command import boltlink
from tests.conftest import Engines, Stores, accepts, wait_for
from tests.mounts import UNSHARE, needs_mounts

ROOT = Path(__file__).parents[2]


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder with a short name, on the disk that nodes use."""
    folder = Path(tempfile.mkdtemp(prefix="bl-"))
    (folder / "s").mkdir(mode=0o700)
    yield folder / "s"
    shutil.rmtree(folder)


async def examine(state: Path, status: int, **environ: str) -> dict[str, list[dict[str, Any]]]:
    """What doctor finds, by check."""
    said = await boltlink("doctor", "--json", environ={"BOLTLINK_STATE_DIR": str(state), **environ})
    assert said.status == status, said.out + said.err
    assert said.err.count("\n") == status
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(said.out)["checks"]:
        assert row["check"] in CHECKS
        assert row["state"] == "ok" or (row["means"] and row["do"]), row
        found.setdefault(row["check"], []).append(row)
    return found


def states_of(found: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """The worst state of each check."""
    order = list(State)
    return {check: max((row["state"] for row in rows), key=order.index) for check, rows in found.items()}


def urls(engines: Engines, stores: Stores) -> dict[str, str]:
    return {
        "BOLTLINK_REDIS_URL": redis_url(engines.settings),
        "BOLTLINK_MONGODB_URL": mongodb_url(engines.settings).replace("/?", f"/{stores.database.name}?"),
    }


def test_all_that_is_compiled_is_looked_at() -> None:
    assert [f"{name}.py" for name in COMPILED] == re.findall(r'"(app/[\w/]+\.py)"', (ROOT / "setup.py").read_text())


def test_what_up_gives_to_programs_is_no_misspelled_setting(state: Path) -> None:
    tree = Tree(Settings.from_environ({"BOLTLINK_STATE_DIR": str(state)}))
    given = tree.environment()
    assert {finding.found for finding in about_names(given)} == {"no unknown BOLTLINK_* variable"}
    assert [finding.state for finding in about_names({**given, "BOLTLINK_NUM": "1"})] == [State.WARN]


def test_a_node_that_is_well_has_no_failure_and_every_check_is_made(
    engines: Engines, with_stores: Callable[..., None], state: Path
) -> None:
    async def scenario(stores: Stores) -> None:
        await make_schema(stores.database, SHAPE)
        environ = urls(engines, stores) | free_ports()
        found = await examine(state, 0, **environ)
        assert set(found) == set(CHECKS)
        machine = {"kernel", "kernel.huge_pages", "clock", "cpu", "limits.files", "python.compiled", "state.disk"}
        machine |= {"redis.latency", "mongodb.latency"}  # of a machine that runs other tests as well
        assert {check for check, worst in states_of(found).items() if worst != "ok"} <= machine
        for_people = await boltlink("doctor", environ={"BOLTLINK_STATE_DIR": str(state), **environ})
        assert "0 fail" in for_people.out
        assert "\x1b" not in for_people.out
        assert os.listdir(state) == []

    with_stores(scenario)


def test_stores_that_are_set_wrongly_are_named(engines: Engines, with_stores: Callable[..., None], state: Path) -> None:
    async def scenario(stores: Stores) -> None:
        await make_schema(stores.database, SHAPE)
        await stores.database[LINKS].drop_index(str(LINK_INDEXES[0].document["name"]))
        await stores.database["schema"].update_one({"_id": "boltlink"}, {"$set": {"version": 999, "oldest": 999}})
        await stores.redis.config_set("maxmemory-policy", "noeviction")
        await stores.redis.config_set("appendonly", "yes")
        try:
            found = await examine(state, 1, **urls(engines, stores))
        finally:
            await stores.redis.config_set("maxmemory-policy", "volatile-lru")
            await stores.redis.config_set("appendonly", "no")
        assert str(LINK_INDEXES[0].document["name"]) in found["mongodb.indexes"][0]["found"]
        assert "999" in found["mongodb.schema"][0]["found"]
        states = states_of(found)
        assert states["redis.memory"] == states["mongodb.indexes"] == states["mongodb.schema"] == "fail"
        assert states["redis.persistence"] == "warn"
        assert states["redis"] == states["mongodb"] == states["mongodb.replica_set"] == "ok"

    with_stores(scenario)


def test_a_single_mongod_and_a_stopped_redis_are_named(engines: Engines, state: Path) -> None:
    place = state.parent / "m"
    place.mkdir()
    command = [str(find_engine("mongod", engines.settings)), "--dbpath", str(place), "--nounixsocket", "--quiet"]
    process = subprocess.Popen([*command, "--bind_ip", f"{place}/m.sock"], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: accepts(place / "m.sock"))
        url = f"mongodb://{str(place / 'm.sock').replace('/', '%2F')}/"
        stopped = {"BOLTLINK_REDIS_URL": f"unix://{state}/none.sock"}
        found = asyncio.run(examine(state, 1, BOLTLINK_MONGODB_URL=url, **stopped))
    finally:
        process.kill()
        process.wait()
    states = states_of(found)
    assert states["mongodb"] == "ok"
    assert states["mongodb.replica_set"] == states["redis"] == "fail"
    assert states["mongodb.settings"] == "warn"
    assert "--replSet" in found["mongodb.replica_set"][0]["do"]


def test_modes_ports_names_and_addresses_are_named(state: Path) -> None:
    state.chmod(0o755)
    (state / "admin-key").write_text("blk_0123456789012345678901234567")
    (state / "admin-key").chmod(0o644)
    source, lock = create_source(state / "journal", "web_0", bytes(8))
    journal = Journal(source, lock)
    assert journal.append(b"h", 1_000, bytes(8), 0, REDIRECT_GET, bytes(16))
    journal.close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = asyncio.run(
            examine(
                state,
                1,
                BOLTLINK_PORT=str(port),
                BOLTLINK_BASE_URL="https://no-such-host.invalid",
                BOLTLINK_TRUSTED_PROXY="10.0.0.1",
                BOLTLINK_MONGOD="/bin/nothing",
                BOLTLINK_REDIS_URL="redis://127.0.0.1:1",
            )
        )
    states = states_of(found)
    for check in ("state.folder", "state.secrets", "ports", "base_url", "engines", "redis"):
        assert states[check] == "fail", check
    assert f"pid {os.getpid()}" in found["ports"][0]["found"]
    assert "did you mean BOLTLINK_TRUSTED_PROXIES?" in found["settings.names"][0]["do"]
    assert "admin-key has mode 0644" in found["state.secrets"][0]["found"]
    assert states["journal"] == "warn"
    assert "1 records wait" in found["journal"][0]["found"]


def test_a_value_that_cannot_be_read_is_named_and_the_machine_is_still_looked_at(state: Path) -> None:
    found = asyncio.run(examine(state, 1, BOLTLINK_PORT="abc"))
    assert "BOLTLINK_PORT" in found["settings.values"][0]["found"]
    assert {"kernel", "clock", "python.version"} <= set(found)


@needs_mounts
@pytest.mark.parametrize(("size", "check"), [("8m", "state.preallocation"), ("64m", "state.disk")])
def test_a_disk_that_is_full_is_named(tmp_path: Path, size: str, check: str) -> None:
    mount = f'mount -t tmpfs -o size={size},mode=0700 disk "$1" && exec "$2" -m app.cli doctor --json'
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", mount, "sh", str(tmp_path), sys.executable],
        env={**os.environ, "BOLTLINK_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1
    rows = {row["check"]: row for row in json.loads(done.stdout)["checks"]}
    assert rows[check]["state"] == "fail", rows[check]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"BOLTLINK_METRICS_PORT": "8000"}, "METRICS_PORT"),
        ({"BOLTLINK_COUNTRY_HEADER": "CF-IPCountry"}, "COUNTRY_HEADER"),
        ({"BOLTLINK_MONTHS_KEPT": "1"}, "MONTHS_KEPT"),
        ({"BOLTLINK_HOT_LINKS": "10000000"}, "MEMORY_LIMIT"),
        ({"BOLTLINK_HOST": "0.0.0.0"}, "BASE_URL"),
        ({"BOLTLINK_METRICS_HOST": "0.0.0.0"}, "/metrics"),
        ({"BOLTLINK_REDIS_SERVER": "/bin/redis", "BOLTLINK_REDIS_URL": "redis://x"}, "REDIS_SERVER"),
        ({"BOLTLINK_BASE_URL": "https://sho.rt"}, "TRUSTED_PROXIES"),
        ({"BOLTLINK_GEOIP_DB": "/no/such.mmdb"}, "GEOIP_DB"),
    ],
)
def test_settings_that_contradict_each_other_are_named(given: dict[str, str], word: str) -> None:
    (finding,) = about_settings(Settings.from_environ(given))
    assert finding.state is State.WARN
    assert word in finding.found


def test_a_url_of_which_no_client_can_be_made_is_a_finding(state: Path) -> None:
    given = {"BOLTLINK_STATE_DIR": str(state), "BOLTLINK_REDIS_URL": "redis://127.0.0.1:1/?nosuch=1"}
    findings = asyncio.run(about_stores(Tree(Settings.from_environ(given))))
    (finding,) = (finding for finding in findings if finding.state is State.FAIL)
    assert "nosuch" in finding.found
    assert "BOLTLINK_REDIS_URL" in finding.do


def test_the_kernel_is_compared_with_the_file_that_is_shipped(tmp_path: Path) -> None:
    names = [line.split(" = ") for line in SYSCTL.read_text().splitlines() if " = " in line]
    assert len(names) >= 4
    for name, value in names:
        path = tmp_path / "proc/sys" / name.replace(".", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")
    (finding,) = about_kernel(tmp_path)
    assert finding.state is State.OK
    (tmp_path / "proc/sys/net/core/somaxconn").write_text("128\n")
    (tmp_path / "proc/sys/net/ipv4/tcp_migrate_req").unlink()
    unknown, low = about_kernel(tmp_path)
    assert "tcp_migrate_req is not known" in unknown.found
    assert (low.state, low.found) == (State.WARN, "net.core.somaxconn is 128, should be 4096")
    assert "burst" in low.means


def test_huge_pages_matter_where_engines_run(tmp_path: Path) -> None:
    path = tmp_path / "sys/kernel/mm/transparent_hugepage/enabled"
    path.parent.mkdir(parents=True)
    path.write_text("[always] madvise never\n")
    (embedded,) = about_huge_pages(Tree(Settings.from_environ({})), tmp_path)
    elsewhere = {"BOLTLINK_REDIS_URL": "redis://r", "BOLTLINK_MONGODB_URL": "mongodb://m"}
    (remote,) = about_huge_pages(Tree(Settings.from_environ(elsewhere)), tmp_path)
    assert (embedded.state, remote.state) == (State.WARN, State.OK)


def test_a_certificate_that_browsers_refuse_or_soon_will_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "3",
    ]
    made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key)]
    subprocess.run([*made, "-out", str(certificate)], capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with suppress(OSError), context.wrap_socket(connection, server_side=True) as wrapped:
                    wrapped.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        unknown = about_certificate("localhost", server.getsockname()[1])
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        trusted = about_certificate("localhost", server.getsockname()[1])
        thread.join()
    assert (unknown.state, trusted.state) == (State.FAIL, State.WARN)
    assert "self-signed" in unknown.found
    assert "for 3 more days" in trusted.found


def free_ports() -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return {"BOLTLINK_PORT": str(one.getsockname()[1]), "BOLTLINK_METRICS_PORT": str(two.getsockname()[1])}
