"""What an administrator does with etc/install.sh, from the first installation to the last trace removed.

Runs as root where it may change everything: `python3 scenario.py CHECKOUT PYTHON [--short]`, in a root folder or in
mounts of its own (test_install.py, in_debootstrap.sh), with the standard library alone. Prints each step's seconds; a
broken rule ends it.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

HOME, STATE, SETTINGS = Path("/opt/boltlink"), Path("/var/lib/boltlink"), Path("/etc/boltlink/boltlink.env")
COMMAND = "/usr/local/bin/boltlink"
OUTSIDE = [COMMAND, "/etc/systemd/system/boltlink.service", "/etc/sysctl.d/60-boltlink.conf"]
TARGET = "https://www.rfc-editor.org/rfc/rfc9110.html"
STEP_S = 400
OLD, NEW = "User-agent: *", "User-agent: all"  # /robots.txt of one release and of the next


def run(*command: str, status: int = 0) -> str:
    """Runs a command that must end with this status; what it said, on either output."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=STEP_S, check=False, stdin=subprocess.DEVNULL
    )
    said = done.stdout + done.stderr
    assert done.returncode == status, f"{' '.join(command)}: {done.returncode}\n{said}"
    return said


def step(title: str, began: float) -> None:
    """Says what is done."""
    print(f"{time.monotonic() - began:6.1f} s  {title}", flush=True)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Traffic:
    """Asks for a slug on a new connection each time, until it is told to end; counts answers that are no redirect."""

    def __init__(self, port: int, slug: str) -> None:
        self._port, self._slug = port, slug
        self.asked, self.failed = 0, list[str]()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._end.wait(0.01):
            self.asked += 1
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                connection.request("GET", f"/{self._slug}")
                answer = connection.getresponse()
                if answer.getheader("Location") != TARGET:
                    self.failed.append(f"{answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
            finally:
                connection.close()

    def end(self) -> None:
        """Stops, and shows that nothing failed."""
        self._end.set()
        self._thread.join()
        print(f"          {self.asked} redirects asked for, {len(self.failed)} failed", flush=True)
        assert self.asked > 100
        assert not self.failed, self.failed[:5]


def robots(port: int) -> str:
    """The page that tells the releases of this scenario apart."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/robots.txt")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def checkout_with(source: Path, name: str, file: str, old: str, new: str) -> str:
    """The installer of a copy of the checkout in which `old` has become `new`."""
    copy = source.with_name(name)
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".venv", ".git", "*.so", "build", "tests"))
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new))
    return str(copy / "etc" / "install.sh")


def releases() -> set[str]:
    """Names of what is built."""
    return {path.name for path in (HOME / "releases").iterdir()}


def current() -> str:
    """The release in use."""
    return (HOME / "current").resolve().name


def extras() -> list[str]:
    """What the release in use was installed with."""
    return (HOME / "current" / "extras").read_text().split()


def first_installation(installer: str) -> None:
    """Install, again, settings kept, private folders."""
    assert "no release before" in run(installer, "--rollback", status=1)
    ports = (f"BOLTLINK_PORT={free_port()}", f"BOLTLINK_METRICS_PORT={free_port()}")  # somebody may run one here
    said = run("env", *ports, installer, "--python", sys.argv[2])
    assert "unit is installed, not started" in said, said
    for path in OUTSIDE:
        assert Path(path).exists(), path
    assert STATE.stat().st_mode & 0o777 == 0o700
    assert SETTINGS.stat().st_mode & 0o777 == 0o640
    assert (STATE.owner(), SETTINGS.owner(), SETTINGS.group()) == ("boltlink", "root", "boltlink")
    SETTINGS.write_text("\n".join(("# kept", *ports, "BOLTLINK_WEB_PROCESSES=2", "")))
    before = SETTINGS.read_text()
    assert "is in use" in run(installer, "--python", sys.argv[2])
    assert SETTINGS.read_text() == before


def hang_up_during(installer: str) -> None:
    """An upgrade whose terminal goes away while programs are reloaded; returns when all of it has ended."""
    upgrade = subprocess.Popen(
        ["env", "--default-signal=HUP", installer, "--python", sys.argv[2]],  # what `nohup` starts is deaf to it
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert upgrade.stdout is not None
    assert any(line.startswith("[1/") for line in upgrade.stdout)
    os.killpg(upgrade.pid, signal.SIGHUP)
    assert "left as they were" in upgrade.stdout.read()
    assert upgrade.wait(60) == -signal.SIGHUP


def main() -> None:
    """Everything, in order."""
    source, is_short = Path(sys.argv[1]), "--short" in sys.argv
    began = time.monotonic()
    installer = str(source / "etc" / "install.sh")
    first_installation(installer)
    first = current()
    port = int(SETTINGS.read_text().split("BOLTLINK_PORT=")[1].split()[0])
    step("installed, and once more without a change", began)

    run(COMMAND, "up", "--detach")
    status = json.loads(run(COMMAND, "status", "--json"))
    assert status["ready"] is True
    assert {os.stat(f"/proc/{entry['pid']}").st_uid for entry in status["processes"]} == {STATE.stat().st_uid}
    said = run("setpriv", "--reuid=65534", "--clear-groups", COMMAND, "status", status=1)
    assert "sudo boltlink status" in said
    slug = json.loads(run(COMMAND, "shorten", TARGET, "--json"))["slug"]
    assert OLD in robots(port)
    step("up, as its own user; a link", began)

    traced = [] if is_short else ["--with-tracing"]
    newer = checkout_with(source, "newer", "app/api/system.py", OLD, NEW)
    tree = source.with_name("newer") / "app/tree.py"  # a release with one more program, which has to wait for a start
    text = tree.read_text()
    tree.write_text(text.replace("range(settings.jobs)", "range(settings.jobs + 1)"))
    assert tree.read_text() != text
    traffic = Traffic(port, slug)
    try:
        assert " runs" in run(newer, "--python", sys.argv[2], *traced)
        second = current()
        assert second != first
        assert NEW in robots(port)
        step("upgraded under traffic", began)

        if not is_short:
            assert extras() == ["embedded", "tracing"]
            run(str(HOME / "current/.venv/bin/python"), "-P", "-c", "import opentelemetry.sdk")
            assert "is in use" in run(newer, "--python", sys.argv[2])  # kept where no option says otherwise
            broken = checkout_with(source, "broken", "app/main.py", "    await process.start()", "    sys.exit(7)")
            assert "back on" in run(broken, "--python", sys.argv[2], status=1)
            assert current() == second
            assert NEW in robots(port)
            step("a release that does not come up: back by itself", began)
            hang_up_during(checkout_with(source, "cut", "app/api/system.py", OLD, "User-agent: cut"))
            assert current() != second
            run(installer, "--rollback")
            assert current() == second
            assert NEW in robots(port)
            assert (HOME / "previous").resolve().name == first
            step("an upgrade that was cut short: back", began)

        run(installer, "--rollback")
        assert current() == first
        assert OLD in robots(port)
        assert extras() == ["embedded"]
        step("rolled back under traffic", began)
    finally:
        traffic.end()

    run(installer, "--uninstall")
    assert not any(Path(path).exists() for path in [*OUTSIDE, str(HOME)])
    assert (STATE / "admin-key").exists()
    assert SETTINGS.exists()
    assert "--yes" in run(installer, "--uninstall", "--purge", status=1)
    assert (STATE / "admin-key").exists()
    run(installer, "--uninstall", "--purge", "--yes")
    assert not any(path.exists() for path in [STATE, SETTINGS.parent, Path("/var/log/boltlink")])
    assert "boltlink" not in Path("/etc/passwd").read_text()
    step("uninstalled, then purged", began)


if __name__ == "__main__":
    main()
