"""CPUs granted, over folders that look like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cpu_grant import granted_cpus, web_processes


def make_root(root: Path, cgroup: str, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_max", ".max").replace("cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [("max 100000", 8), ("150000 100000", 2), ("100000 100000", 1), ("50000 100000", 1), ("9900000 100000", 8)],
)
def test_quota_of_version_2_is_rounded_up_and_affinity_binds(tmp_path: Path, quota: str, cpus: int) -> None:
    root = make_root(tmp_path, "0::/app\n", app__cpu_max=quota)
    assert granted_cpus(root, 8) == cpus


def test_quota_of_an_ancestor_binds(tmp_path: Path) -> None:
    root = make_root(tmp_path, "0::/a/b\n", a__cpu_max="300000 100000", a__b__cpu_max="max 100000")
    assert granted_cpus(root, 8) == 3


def test_quota_of_version_1(tmp_path: Path) -> None:
    root = make_root(
        tmp_path,
        "5:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n",
        cpu__cfs_quota_us="250000",
        cpu__cfs_period_us="100000",
    )
    assert granted_cpus(root, 8) == 3


def test_no_quota_of_version_1(tmp_path: Path) -> None:
    root = make_root(tmp_path, "5:cpu:/\n", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert granted_cpus(root, 8) == 8


def test_nothing_to_read_means_affinity(tmp_path: Path) -> None:
    assert granted_cpus(tmp_path, 3) == 3


def test_there_are_never_fewer_than_two_web_processes(tmp_path: Path) -> None:
    assert web_processes(tmp_path, 1) == 2
    assert web_processes(tmp_path, 5) == 5
