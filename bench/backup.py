"""How fast a large database is backed up and restored, and in how much memory: `python -m bench.backup [--gb 1]`.

In: nothing; a database of links and buckets is made on an embedded mongod of its own. Out: seconds and the largest
resident size of the commands themselves, as the kernel saw it, without mongod.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bson.int64 import Int64
from pymongo import MongoClient

from app.cli.engines import engines_up
from app.settings import Settings
from app.stores import mongodb_url
from app.stores.connections import DATABASE_NAME
from app.tree import Tree

BATCH = 5_000
STEP_S = 0.05
LINK_BYTES, BUCKET_BYTES = 330, 1_000  # about, as MongoDB counts them


def fill(database: Any, size_bytes: int) -> int:
    """Half of the bytes links, half buckets; how many documents."""
    rng = random.Random(1)
    links, buckets = size_bytes // 2 // LINK_BYTES, size_bytes // 2 // BUCKET_BYTES
    for start in range(0, links, BATCH):
        numbers = range(start, min(links, start + BATCH))
        database["links"].insert_many([_link(number) for number in numbers], ordered=False)
    for start in range(0, buckets, BATCH):
        numbers = range(start, min(buckets, start + BATCH))
        database["clicks_node"].insert_many([_bucket(number, rng) for number in numbers], ordered=False)
    database["links"].create_index([("link", 1)], unique=True)
    database["links"].create_index([("created", -1), ("_id", -1)])
    database["clicks_node"].create_index([("day", 1)])
    return links + buckets


def _link(number: int) -> dict[str, Any]:
    return {
        "_id": f"/{number:07x}",
        "link": Int64(number + 1),
        "version": Int64(1_764_000_000_000 + number),
        "state": "active",
        "target": f"https://www.example.com/articles/{number}/a-title-of-usual-length?ref=newsletter",
        "owner": "key-1",
        "tags": [f"tag-{number % 100}"],
        "title": f"Article {number}",
        "created": 1_764_000_000,
        "clicks": Int64(number % 977),
        "terms": [f"article{number % 1000}", "title", "usual", "length", "example"],
    }


def _bucket(number: int, rng: random.Random) -> dict[str, Any]:
    return {
        "_id": f"{number:016x}20261125bench-0",
        "link": Int64(number),
        "day": 20_261_125,
        "rev": Int64(rng.getrandbits(48)),
        "clicks": number % 97,
        "minutes": rng.randbytes(300),
        "visitors": rng.randbytes(500),
        "dims": b"browser:Firefox;os:Linux;country:DE;" * 3,
    }


def run(environ: dict[str, str], *words: str) -> tuple[float, float]:
    """One command: its seconds, and its largest resident size in MB."""
    began_s = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "app.cli", *words], env=environ)
    peak_kb = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        peak_kb = max([peak_kb, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
        time.sleep(STEP_S)
    if process.wait():
        sys.exit(f"boltlink {' '.join(words)}: exit status {process.returncode}")
    return time.monotonic() - began_s, peak_kb / 1000


def main() -> None:
    """Fills, backs up, verifies, destroys, restores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=1.0, help="size of the database's documents")
    size_bytes = int(parser.parse_args().gb * 1e9)
    folder = Path(tempfile.mkdtemp(prefix="bl-"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BOLTLINK_")}
    environ = {**clean, "BOLTLINK_STATE_DIR": str(folder / "s")}
    os.environ.clear()
    os.environ.update(environ)
    tree = Tree(Settings.from_environ(environ))
    try:
        with engines_up(tree, ["mongod"]), MongoClient[dict[str, Any]](mongodb_url(tree.settings)) as client:
            count = fill(client[DATABASE_NAME], size_bytes)
        print(f"{count:,} documents, {size_bytes / 1e9:.1f} GB")
        file = str(folder / "bench.backup")
        for words in (("backup", file), ("backup", "--verify", file), ("restore", "-y", "--replace", file)):
            seconds, peak_mb = run(environ, *words)
            print(f"boltlink {' '.join(words[:-1]):20} {seconds:6.1f} s  {peak_mb:6.0f} MB", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
