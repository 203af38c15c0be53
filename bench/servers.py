"""The servers that are compared: which this machine has, and how each is started on the server's CPU.

In: names and how many links each must know. Out: running servers. Peers are small honest programs in bench/peers; all
know the same links in a map, but nginx's `return`, which knows one target and is the measure of the others.
May import: machine, product.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from bench.machine import ROOT, SERVER_CPU, free_port, pinned, wait_for_port
from bench.product import Product, compile_hot_path, start

__all__ = [
    "COMPILED",
    "FEW",
    "GO",
    "INTERPRETED",
    "NGINX",
    "NGINX_MAP",
    "NODE",
    "TORNADO",
    "Server",
    "available",
    "make_folder",
    "start_servers",
]

NGINX, NGINX_MAP, GO, NODE = "nginx return", "nginx map+log", "Go net/http", "node http"
TORNADO, INTERPRETED, COMPILED = "Tornado handler", "boltlink interpreted", "boltlink compiled"
FEW = ", 100,000 in memory"  # a process that keeps fewer links than there are
PEERS = ROOT / "bench" / "peers"


@dataclass(slots=True)
class Server:
    """One running server: where it listens, and whose CPU time counts; `product` only for BoltLink's."""

    name: str
    port: int
    pid: int
    product: Product | None = None
    log: Path | None = None

    def tidy(self) -> None:
        """Between runs: an access log is emptied, so that the disk's room lasts."""
        if self.log is not None and self.log.exists():
            os.truncate(self.log, 0)


def available(path: str | None = None) -> dict[str, str]:
    """Name -> "" for every server that can be started here, else why not; `path` None: PATH, and where root looks."""

    def state_of(*programs: str) -> str:
        is_there = any(find_program(program, path) for program in programs)
        return "" if is_there else f"{programs[0]} is missing (make bench-tools)"

    return {
        NGINX: state_of("nginx"),
        NGINX_MAP: state_of("nginx"),
        GO: state_of("go"),
        NODE: state_of("node"),
        TORNADO: "",
        INTERPRETED: "",
        COMPILED: state_of("cc", "gcc"),
    }


def find_program(name: str, path: str | None = None) -> str | None:
    """Where a program is; Debian keeps nginx where only root's PATH looks."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin" if path is None else path)


def start_servers(
    stack: ExitStack, names: Collection[str], *, links: int, hot_links: int | None, is_aggregated: bool
) -> dict[str, Server]:
    """Starts these, each in a folder of its own; all processes of BoltLink share one node.

    Args:
        hot_links: links that BoltLink keeps in memory; None: as shipped.
        is_aggregated: the aggregator runs beside the load.
    """
    servers: dict[str, Server] = {}
    for name in names:
        if name in _PEERS:
            servers[name] = _PEERS[name](stack, make_folder(stack), links)
            wait_for_port(servers[name].port)
    mine = [name for name in names if name.startswith((COMPILED, INTERPRETED))]
    if any(name.startswith(COMPILED) for name in mine):
        compile_hot_path()
    if mine:
        product = Product(stack, make_folder(stack), links)
        for name in mine:
            hot = None if name.endswith(FEW) else hot_links
            servers[name] = Server(name, *product.start_web(compiled=name.startswith(COMPILED), hot_links=hot), product)
        if is_aggregated:
            product.start_aggregator()
    return servers


def make_folder(stack: ExitStack) -> Path:
    """A folder that goes with `stack`; its name is short, because sockets live in it."""
    folder = Path(mkdtemp(prefix="bb-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _nginx(name: str, config: str) -> Callable[[ExitStack, Path, int], Server]:
    def make(stack: ExitStack, folder: Path, links: int) -> Server:
        port = free_port()
        (folder / "links.map").write_text("".join(f"/b{n} https://example.com/page/{n};\n" for n in range(links)))
        text = (PEERS / config).read_text().replace("@PORT@", str(port)).replace("@SLOTS@", str(4 * links))
        (folder / "nginx.conf").write_text(text)
        command = [find_program("nginx") or "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        process = start(stack, pinned(SERVER_CPU, *command), folder)
        return Server(name, port, process.pid, log=folder / "access.log")

    return make


def _program(name: str, *command: str) -> Callable[[ExitStack, Path, int], Server]:
    """A peer that takes its port and the number of links as its last arguments."""

    def make(stack: ExitStack, folder: Path, links: int) -> Server:
        port = free_port()
        process = start(stack, pinned(SERVER_CPU, *command, str(port), str(links)), folder)
        return Server(name, port, process.pid)

    return make


def _go(stack: ExitStack, folder: Path, links: int) -> Server:
    binary = folder / "go_map"
    environ = {**os.environ, "GOCACHE": str(folder / "cache"), "GO111MODULE": "off"}
    subprocess.run(["go", "build", "-o", str(binary), str(PEERS / "go_map.go")], check=True, env=environ)
    return _program(GO, str(binary))(stack, folder, links)


_PEERS: dict[str, Callable[[ExitStack, Path, int], Server]] = {
    NGINX: _nginx(NGINX, "nginx_return.conf"),
    NGINX_MAP: _nginx(NGINX_MAP, "nginx_map.conf"),
    GO: _go,
    NODE: _program(NODE, "node", str(PEERS / "node_map.js")),
    TORNADO: _program(TORNADO, sys.executable, str(PEERS / "tornado_dict.py")),
}
