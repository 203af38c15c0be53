"""The installer on this machine, in mounts of its own; what belongs to it is valid: unit, nginx, settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings
from app.tree import STOP_LIMIT_S
from tests.containers.stopping import stop_seconds
from tests.front.nginx import BINARY
from tests.mounts import needs_mounts_of_root
from tests.needs import needs

ROOT = Path(__file__).resolve().parents[2]
ETC = ROOT / "etc"
#: Where the installer writes: each is a layer over the machine's own, gone with the namespace.
PLACES = ["/opt", "/etc", "/var/lib", "/var/log", "/usr/local/bin"]
NAMESPACE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
MOUNTS = """
layers=$1 places=$2
shift 2
mount -t tmpfs layers "$layers"
for place in $places; do
    mkdir -p "$layers$place.upper" "$layers$place.work"
    [ "$place" != /etc ] || cp -L /etc/resolv.conf /etc/hosts "$layers/etc.upper"  # in containers these are mounts
    mount -t overlay -o "lowerdir=$place,upperdir=$layers$place.upper,workdir=$layers$place.work" layer "$place"
done
mount -t tmpfs none /run
mount -o bind,ro /proc/sys /proc/sys
exec "$@"
"""


def python_for_all() -> str | None:
    """A Python with venv that a user who is nobody may run, as the installer needs one; not one in a home folder."""
    nobody = ["setpriv", "--reuid=65534", "--clear-groups"]
    for python in ("/usr/bin/python3", "/usr/local/bin/python3"):
        trial = [*nobody, python, "-c", "import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 11))"]
        if subprocess.run(trial, capture_output=True, check=False).returncode == 0:
            return python
    return None


@pytest.mark.system
@pytest.mark.timeout(600)
@needs_mounts_of_root
def test_install_upgrade_and_uninstall(tmp_path: Path) -> None:
    python = python_for_all()
    if python is None:
        pytest.skip("no Python with venv that every user may run")
    checkout, layers = tmp_path / "checkout", tmp_path / "layers"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".venv", ".git", "*.so", "build", ".*_cache"))
    layers.mkdir()
    scenario = [sys.executable, str(checkout / "tests/install/scenario.py"), str(checkout), python, "--short"]
    done = subprocess.run(
        [*NAMESPACE, "sh", "-ec", MOUNTS, "sh", str(layers), " ".join(PLACES), *scenario],
        env={**os.environ, "CFLAGS": "-O0"},  # compiled the sooner
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not Path("/opt/boltlink").exists()


@needs("systemd-analyze")
def test_the_unit_is_valid(tmp_path: Path) -> None:
    unit = tmp_path / "boltlink.service"  # its programs are not installed here
    unit.write_text((ETC / "systemd" / "boltlink.service").read_text().replace("/usr/local/bin/boltlink", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if str(unit) in line]) == (0, [])


def test_the_unit_and_the_commands_wait_longer_than_the_tree_may_take() -> None:
    unit = (ETC / "systemd" / "boltlink.service").read_text()
    waits = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert waits is not None
    assert int(waits[1]) > STOP_LIMIT_S > stop_seconds(has_engines=True)


def test_each_setting_of_the_template_can_be_uncommented(tmp_path: Path) -> None:
    template = (ETC / "boltlink.env").read_text()
    file = tmp_path / "boltlink.env"
    file.write_text(re.sub(r"^#(?=BOLTLINK_|OTEL_)", "", template, flags=re.MULTILINE))
    file.chmod(0o640)
    settings = Settings.from_environ({"BOLTLINK_SETTINGS_FILE": str(file)})
    assert settings.base_url == "https://sho.rt"
    file.write_text(template)
    assert Settings.from_environ({"BOLTLINK_SETTINGS_FILE": str(file)}).base_url is None


@needs("nginx")
def test_nginx_takes_the_configuration(tmp_path: Path) -> None:
    assert BINARY is not None
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=sho.rt"]
    keys = ["-keyout", str(tmp_path / "privkey.pem"), "-out", str(tmp_path / "fullchain.pem")]
    subprocess.run([*certificate, *keys], check=True, capture_output=True)
    text = (ETC / "nginx" / "boltlink.conf").read_text().replace("/etc/letsencrypt/live/sho.rt", str(tmp_path))
    (tmp_path / "boltlink.conf").write_text(text)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/nginx.pid; error_log stderr; events {{}} http {{ include {tmp_path}/boltlink.conf; }}"
    )
    done = subprocess.run(
        [BINARY, "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr
