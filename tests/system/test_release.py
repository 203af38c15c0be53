"""Code in a folder for each release, a symbolic link to one of them: a reload runs what the link leads to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from app.settings import Settings
from app.stores.embedded import ENGINES, find_engine
from tests import fetch
from tests.conftest import wait_for
from tests.system.conftest import ROOT, Tree

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

OLD, NEW = "User-agent: *", "User-agent: all"


def make_release(folder: Path) -> None:
    """The code, and an environment of its own that borrows the packages of the one that tests."""
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("app", "workers", "etc"):
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    shutil.copy(ROOT / "supervisord.conf", folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True)
    packages = next((folder / ".venv" / "lib").glob("python3*/site-packages"))
    (packages / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")


def switch(link: Path, release: Path) -> None:
    """Lets the link lead to another release; nobody ever sees none."""
    draft = link.with_name("draft")
    draft.symlink_to(release)
    draft.rename(link)


def folders(tree: Tree) -> dict[str, str]:
    """Where each program that lives was started; redis goes to its data by itself."""
    found = {}
    for name, pid in tree.pids().items():
        if name != "redis" and pid is not None:
            with suppress(psutil.NoSuchProcess):
                found[name] = psutil.Process(pid).cwd()
    return found


def test_a_reload_runs_the_release_that_the_link_leads_to(tree: Tree, tmp_path: Path) -> None:
    old, new, link = tmp_path / "old", tmp_path / "new", tmp_path / "current"
    for release in (old, new):
        make_release(release)
    page = new / "app" / "api" / "system.py"
    page.write_text(page.read_text().replace(OLD, NEW))
    assert NEW in page.read_text()
    for name, engine in ENGINES.items():
        tree.environ[engine.setting] = str(find_engine(name, Settings.from_environ(os.environ)))
    tree.python, tree.cwd = str(link / ".venv" / "bin" / "python"), link

    switch(link, old)
    tree.up()
    assert OLD in fetch.get(f"{tree.url}/robots.txt").text
    assert set(folders(tree).values()) == {str(old)}

    switch(link, new)
    done = tree.command("reload")
    assert done.returncode == 0, done.stderr
    assert NEW in fetch.get(f"{tree.url}/robots.txt").text
    assert {name for name, folder in folders(tree).items() if folder != str(new)} == {"mongod"}  # engines run on

    psutil.Process(tree.pids()["mongod"]).kill()
    wait_for(lambda: folders(tree).get("mongod") == str(new))
