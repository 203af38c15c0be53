"""Reloads and kills under load: a reload costs no request, a kill no more than were in its hands."""

from __future__ import annotations

import os
import signal
import sys
from random import Random

import pytest

from tests.chaos.cluster import WEB, Cluster
from tests.chaos.load import Load
from tests.chaos.network import MIGRATE, in_own_network
from tests.conftest import wait_for
from tests.system.conftest import make_tree

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not MIGRATE.exists(), reason="this kernel (before 5.14) has no net.ipv4.tcp_migrate_req"),
]

TIMES = int(os.environ.get("RELOADS", "6"))
RATE = 400
VISITORS = 24


@pytest.mark.parametrize("migrates", [False, True])
def test_no_request_is_lost_by_reloads_and_few_by_kills(migrates: bool) -> None:
    try:
        in_own_network(lambda: reload_and_kill(migrates), migrates=migrates)
    except PermissionError:
        pytest.skip("may not make a network here; root on a machine of one's own may")


def reload_and_kill(migrates: bool) -> None:
    for tree in make_tree(BOLTLINK_WEB_PROCESSES=str(len(WEB))):
        tree.up()
        cluster = Cluster(tree)
        cluster.make_links(60)
        load = Load(tree.port, cluster.links, 1, rate=RATE, visitors=VISITORS, depth_max=1)
        notes = load.notes
        load.start()
        try:
            for _ in range(TIMES):
                done = tree.command("reload", *WEB)
                assert done.returncode == 0, done.stderr
            reloaded = (notes.requests, notes.unanswered.total(), notes.not_connected, len(notes.failures))
            random = Random(1)
            for _ in range(TIMES):
                name = random.choice(WEB)
                os.kill(cluster.pid(name), signal.SIGKILL)
                wait_for(cluster.redirects(*WEB))
        finally:
            load.stop()
            cluster.close()
        killed = notes.unanswered.total() - reloaded[1] + notes.not_connected - reloaded[2]
        sys.stderr.write(
            f"\ntcp_migrate_req={int(migrates)}: {reloaded[0]} requests over {TIMES} reloads of {len(WEB)}: "
            f"{sum(reloaded[1:])} failed; {notes.requests - reloaded[0]} over {TIMES} kills: {killed} failed\n"
        )
        assert reloaded[1:] == (0, 0, 0)
        assert notes.wrong == []
        # At most one request of each visitor: on a connection that it had, or that waited for it where nobody else
        # gets those. Who asks again is answered.
        assert killed <= TIMES * VISITORS
