"""A disk that is really full costs the clicks that do not fit, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.mounts import UNSHARE, needs_mounts

PROGRAM = """
import json, os, sys
from pathlib import Path
from app.journal import REDIRECT_GET, Journal, Reader, create_source

disk, size = Path(sys.argv[1]), 64 * 1024
filler = disk / "of-somebody"
filler.write_bytes(bytes(512 * 1024))
source, lock = create_source(disk / "journal", "web_0", os.urandom(8))
journal = Journal(source, lock, segment_bytes=size)

def append(count):
    kept = 0
    for number in range(count):
        kept += journal.append(b"h" * 400, 1_000 + number, bytes(8), 0, REDIRECT_GET, bytes(16))
        if number % 50 == 0:
            journal.prepare()
    return kept

left_before = journal.bytes_left
kept = append(4_000)
left_full = journal.bytes_left
dropped = journal.dropped
journal.sync()
filler.unlink()
journal.prepare()
again = append(50)
reader = Reader(source, 0, segment_bytes=size)
seen = len(reader.read(100_000))
print(json.dumps([left_before, kept, dropped, left_full, again, seen, reader.damaged]))
"""


@needs_mounts
def test_a_full_disk_drops_clicks_and_counts_them_and_room_makes_it_go_on(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=1m disk "$1" && exec "$2" -c "$3" "$1"'
    command = [*UNSHARE, "sh", "-c", mount, "sh", str(tmp_path), sys.executable, PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    left_before, kept, dropped, left_full, again, seen, damaged = json.loads(done.stdout)
    assert left_before > 256 * 1024 > 64 * 1024 > left_full >= 0
    assert kept > 0
    assert dropped > 0
    assert kept + dropped == 4_000
    assert (again, seen, damaged) == (50, kept + 50, 0)
