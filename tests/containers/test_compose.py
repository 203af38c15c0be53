"""compose.yaml and what it mounts, by those who read them: the schema of the Compose specification (check-jsonschema
carries it), Redis, nginx, Prometheus, BoltLink.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app.agents import Networks, client_address
from app.settings import Settings
from tests.conftest import wait_for
from tests.containers.stopping import stop_seconds
from tests.front.nginx import BINARY
from tests.needs import needs

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "etc" / "compose"
SCHEMA = json.loads(files("check_jsonschema.builtin_schemas.vendor").joinpath("compose-spec.json").read_text())
PLAN: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = PLAN["services"]
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="gives files to other users")


def seconds(text: str) -> int:
    """A duration of Compose."""
    return int(re.fullmatch(r"(\d+)s", text)[1])  # type: ignore[index]


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """What make-secrets.sh makes."""
    folder = tmp_path / "secrets"
    for _ in range(2):  # the second time changes nothing
        subprocess.run([COMPOSE / "make-secrets.sh", "go.example.org", folder], check=True)
        made = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    assert made.keys() == PLAN["secrets"].keys()
    assert all((folder / name).read_text() == text for name, text in made.items())
    assert (tmp_path / ".env").read_text() == "SITE=go.example.org\n"
    return folder


@needs_root
@pytest.mark.parametrize("name", ["go.example.org/../..", "go example", "-x", "a&b", ""])
def test_a_name_that_is_none_makes_nothing(name: str, tmp_path: Path) -> None:
    command = [str(COMPOSE / "make-secrets.sh"), name, str(tmp_path / "secrets")]
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_a_certificate_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    killed = tmp_path / "bin" / "openssl"
    killed.parent.mkdir()
    killed.write_text('#!/bin/sh\nwhile [ "$1" != -keyout ]; do shift; done; echo cut >"$2"; kill -9 $PPID\n')
    killed.chmod(0o755)
    command = [str(COMPOSE / "make-secrets.sh"), "go.example.org", str(tmp_path / "secrets")]
    path = f"{killed.parent}:{os.environ['PATH']}"
    assert subprocess.run(command, check=False, env={**os.environ, "PATH": path}).returncode == -9
    subprocess.run(command, check=True)
    live = tmp_path / "secrets" / "letsencrypt" / "live" / "go.example.org"
    assert {one.name: one.read_text().startswith("-----BEGIN") for one in live.iterdir()} == {
        "privkey.pem": True,
        "fullchain.pem": True,
    }
    assert [one.name for one in live.parent.iterdir()] == ["go.example.org"]


def test_the_specification_takes_it_and_nothing_that_is_misspelled() -> None:
    validator = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)
    validator.validate(PLAN)
    wrong = json.loads(json.dumps(PLAN))
    wrong["services"]["boltlink"]["stop_grace_periode"] = "1s"
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(wrong)


def test_services_are_sealed_and_wait_for_each_other() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        for other, condition in service.get("depends_on", {}).items():
            assert condition["condition"] == "service_healthy"
            # The image of ours brings its own.
            assert other == "boltlink" or "healthcheck" in SERVICES[other]
        for network in service["networks"]:
            assert network in PLAN["networks"]
    assert PLAN["networks"]["back"]["internal"]
    assert not any("ports" in SERVICES[name] for name in ("boltlink", "redis", "mongodb"))


def test_nginx_alone_says_who_the_client_is() -> None:
    front = PLAN["networks"]["front"]["ipam"]["config"][0]
    nginx = SERVICES["nginx"]["networks"]["front"]["ipv4_address"]
    # Nobody else is given its address, whoever starts first.
    assert ipaddress.ip_address(nginx) in ipaddress.ip_network(front["subnet"])
    assert ipaddress.ip_address(nginx) not in ipaddress.ip_network(front["ip_range"])
    settings = Settings.from_environ(SERVICES["boltlink"]["environment"] | {"BOLTLINK_SETTINGS_FILE": ""})
    trusted = Networks(settings.trusted_proxies)
    # What nginx sends of a client that Docker hides behind the gateway, and that names itself.
    fields = [(b"X-Forwarded-For", f"192.0.2.66, {front['gateway']}".encode())]
    peer = ipaddress.ip_address(f"::ffff:{nginx}").packed
    assert client_address(peer, fields, trusted)[0] == front["gateway"]


def test_files_and_variables_that_are_named_exist() -> None:
    known = {row["variable"] for row in Settings.table()}
    assert SERVICES["boltlink"]["environment"].keys() <= known
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (ROOT / source).exists(), volume
            assert source.startswith((".", "$")) or source in PLAN["volumes"], volume
        assert set(service.get("secrets", [])) <= PLAN["secrets"].keys()
    build = SERVICES["boltlink"]["build"]["args"]
    assert {f"ARG {name}" for name in build} <= set(re.findall(r"ARG \w+", (ROOT / "Dockerfile").read_text()))
    version = re.search(r"^version = (.*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert version is not None
    assert SERVICES["boltlink"]["image"] == f"boltlink:{version[1]}"


def test_no_secret_is_in_the_file() -> None:
    secret = {row["variable"] for row in Settings.table() if row["secret"]}
    assert not secret & SERVICES["boltlink"]["environment"].keys()
    assert not [value for name, value in SERVICES["mongodb"]["environment"].items() if name.endswith("PASSWORD")]


def test_the_tree_may_take_its_time_to_stop() -> None:
    assert seconds(SERVICES["boltlink"]["stop_grace_period"]) > stop_seconds()


def test_sysctls_are_those_of_the_machine_that_a_container_has_itself() -> None:
    lines = (ROOT / "etc" / "sysctl.d" / "60-boltlink.conf").read_text().splitlines()
    asked = dict(line.split(" = ") for line in lines if line.startswith("net."))
    assert SERVICES["boltlink"]["sysctls"] == asked


@needs_root
def test_boltlink_reads_the_settings_that_are_made(secrets: Path) -> None:
    settings = Settings.from_environ({"BOLTLINK_SETTINGS_FILE": str(secrets / "boltlink.env")})
    password = (secrets / "mongodb-password").read_text()
    assert settings.mongodb_url is not None
    assert f":{password}@mongodb:27017/" in settings.mongodb_url
    assert settings.redis_url is not None
    assert settings.redis_url.endswith("@redis:6379/0")
    assert settings.admin_key is not None
    owners = {path.name: (path.stat().st_uid, path.stat().st_mode & 0o777) for path in secrets.iterdir()}
    del owners["letsencrypt"]
    assert owners.pop("boltlink.env") == (10001, 0o400)
    assert set(owners.values()) == {(999, 0o400)}


@needs_root
@needs("redis-cli")
def test_redis_takes_its_file_and_answers_who_knows_the_password(secrets: Path, tmp_path: Path) -> None:
    file, socket = tmp_path / "redis.conf", tmp_path / "redis.sock"
    text = (secrets / "redis.conf").read_text().replace("dir /data", f"dir {tmp_path}")
    file.write_text(f"{text}port 0\nunixsocket {socket}\n")
    check = SERVICES["redis"]["healthcheck"]["test"][1].replace("$$", "$")
    check = check.replace("/run/secrets/redis.conf", str(file)).replace("redis-cli", f"redis-cli -s {socket}")
    process = subprocess.Popen(["redis-server", str(file)], stdout=subprocess.DEVNULL)
    try:
        wait_for(socket.exists)
        assert subprocess.run(["sh", "-c", check], check=False).returncode == 0
        file.write_text("requirepass wrong\n")
        assert subprocess.run(["sh", "-c", check], check=False, capture_output=True).returncode == 1
    finally:
        process.terminate()
        process.wait(10)


@needs_root
@needs("nginx")
def test_nginx_takes_the_site_that_is_made_before_it_starts(secrets: Path, tmp_path: Path) -> None:
    assert BINARY is not None
    script = (COMPOSE / "site.sh").read_text()
    script = script.replace("/etc/boltlink/nginx.conf", str(ROOT / "etc/nginx/boltlink.conf"))
    site = tmp_path / "default.conf"
    script = script.replace("/etc/nginx/conf.d/default.conf", str(site))
    subprocess.run(["sh", "-c", script], env={**os.environ, "SITE": "go.example.org"}, check=True)
    text = site.read_text()
    assert "server boltlink:8000;" in text
    assert not re.search(r"127\.0\.0\.1:8000|sho\.rt", re.sub("#.*", "", text))
    # `boltlink` is a name of the containers' network alone.
    site.write_text(
        text.replace("boltlink:8000", "127.0.0.1:8000").replace("/etc/letsencrypt", f"{secrets}/letsencrypt")
    )
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/nginx.pid; error_log stderr; events {{}} http {{ include {site}; }}"
    )
    command = [BINARY, "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@needs("promtool")
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    for source in (COMPOSE / "prometheus.yml", ROOT / "etc" / "prometheus" / "boltlink.rules.yml"):
        shutil.copy(source, tmp_path)
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "SUCCESS" in done.stdout
