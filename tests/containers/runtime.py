"""One container of an image, by crun (an OCI runtime), without an engine around it: what Docker and Kubernetes ask for.

In: the mounted root file system and the configuration of an image, as buildah has them. Out: a running container, its
output, its exit status. It shares the network of whoever starts it; everything else is its own. It has no capability,
gains none, sees its root file system read-only, no /tmp, and only the system calls of the profile that engines share.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Container", "Image"]

PROFILE = Path("/usr/share/containers/seccomp.json")  # of Debian's golang-github-containers-common
VOLUME = "/var/lib/boltlink"
CPU_PERIOD_US = 100_000
NAMESPACES = ("pid", "ipc", "uts", "mount", "cgroup")


@dataclass(frozen=True)
class Image:
    """An image: its root file system, and its configuration as `buildah inspect` shows it."""

    root: Path
    config: Mapping[str, Any]

    @property
    def command(self) -> list[str]:
        """What it starts."""
        return [*self.config["Entrypoint"], *self.config["Cmd"]]


@dataclass
class Container:
    """One container: made by `start`, over when `wait` returns."""

    image: Image
    bundle: Path
    volume: Path
    environ: dict[str, str] = field(default_factory=dict)
    secrets: Path | None = None
    cpus: float | None = None
    command: Sequence[str] | None = None
    is_read_only: bool = False

    def start(self) -> Container:
        """Starts it; its output goes to files."""
        self.bundle.mkdir(parents=True)
        (self.bundle / "config.json").write_text(json.dumps(self._spec()))
        with self._file("stdout").open("wb") as out, self._file("stderr").open("wb") as err:
            self._process = subprocess.Popen(
                ["crun", "--cgroup-manager=cgroupfs", "run", "--bundle", str(self.bundle), self.name],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        return self

    @property
    def name(self) -> str:
        """Unique on this machine."""
        return f"boltlink-{os.getpid()}-{self.bundle.name}"

    @property
    def out(self) -> str:
        """What it said."""
        return self._file("stdout").read_text()

    @property
    def err(self) -> str:
        """What it complained of."""
        return self._file("stderr").read_text()

    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def run(self, *command: str, status: int = 0) -> str:
        """Runs a command in it, as `docker exec` does; what it said."""
        done = subprocess.run(
            ["crun", "exec", "--user", self.image.config["User"], self.name, *command],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def signal(self, name: str) -> None:
        """Sends a signal to its PID 1, as `docker stop` and the kubelet do."""
        subprocess.run(["crun", "kill", self.name, name], check=True)

    def wait(self, limit_s: float = 60) -> int:
        """Its exit status, as the runtime tells it (128 + the signal that killed it)."""
        return self._process.wait(limit_s)

    def stop(self, limit_s: float) -> tuple[int, float]:
        """Ends it in order; exit status and seconds."""
        began = time.monotonic()
        self.signal("TERM")
        return self.wait(limit_s), time.monotonic() - began

    def discard(self) -> None:
        """Nothing of it stays."""
        if not self.is_over():
            subprocess.run(["crun", "delete", "--force", self.name], check=False, capture_output=True)
            self._process.wait(30)

    def _file(self, name: str) -> Path:
        return self.bundle / name

    def _spec(self) -> dict[str, Any]:
        user, group = map(int, self.image.config["User"].split(":"))
        environ = dict(line.split("=", 1) for line in self.image.config["Env"]) | self.environ
        quota = {} if self.cpus is None else {"quota": int(self.cpus * CPU_PERIOD_US), "period": CPU_PERIOD_US}
        return {
            "ociVersion": "1.0.0",
            "process": {
                "user": {"uid": user, "gid": group},
                "args": list(self.command or self.image.command),
                "env": [f"{name}={value}" for name, value in environ.items()],
                "cwd": self.image.config["WorkingDir"],
                "noNewPrivileges": True,
                "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")},
            },
            "root": {"path": str(self.image.root), "readonly": True},
            "hostname": self.bundle.name,
            "mounts": self._mounts(),
            "linux": {
                "namespaces": [{"type": kind} for kind in NAMESPACES],
                "resources": {"cpu": quota} if quota else {},
                "seccomp": _seccomp(),
            },
        }

    def _mounts(self) -> list[dict[str, Any]]:
        bind = ["rbind", "nosuid", "nodev", *(["ro"] if self.is_read_only else [])]
        mounts: list[dict[str, Any]] = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666"],
            },
            {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "relatime"]},
            {"destination": VOLUME, "type": "bind", "source": str(self.volume), "options": bind},
        ]
        if self.secrets is not None:
            options = ["rbind", "ro", "nosuid", "nodev", "noexec"]
            mounts.append(
                {"destination": "/run/secrets", "type": "bind", "source": str(self.secrets), "options": options}
            )
        return mounts


def _seccomp() -> dict[str, Any]:
    """The engines' shared profile for a process without capabilities on this architecture."""
    rules = [
        {
            "names": rule["names"],
            "action": rule["action"],
            "args": rule.get("args") or [],
            **({"errnoRet": rule["errnoRet"]} if "errnoRet" in rule else {}),
        }
        for rule in json.loads(PROFILE.read_text())["syscalls"]
        if not rule["includes"].get("caps") and "amd64" in rule["includes"].get("arches", ["amd64"])
    ]
    return {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules}
