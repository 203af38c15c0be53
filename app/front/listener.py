"""Accepts connections, and answers the first request of each before a transport is made for it.

In: a listening socket. Out: for a client that wants one redirect and closes, the answer, at the cost of four system
calls; for every other one a `Connection`, with the bytes that were already read or could not yet be sent.
A transport costs more than a redirect does, so it is made only for connections that go on (docs/performance.md#accept).

    ACCEPTS_MAX   connections taken at once, then the others get their turn (the listener stays readable)
    refused       no descriptor is left: accepting pauses for PAUSE_S and the kernel's queue holds the clients

End: `close` leaves the queue to the sibling processes where the kernel moves it (net.ipv4.tcp_migrate_req, Linux 5.14),
else it turns newcomers away, who come again after a second and find a sibling, and takes what is queued or on its way
before it closes. With TCP_DEFER_ACCEPT the kernel wakes us when the first bytes are there.
May import: gate, lane, connection; no Tornado.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import socket
from contextlib import suppress
from functools import partial
from struct import pack
from typing import Any

import cython
from cython import compiled

from app.front.connection import Connection
from app.front.gate import Gate, pack_peer
from app.front.lane import CLOSES, MISSED
from app.sockets import queue_moves

if compiled:
    from cython.cimports.app.front.lane import Lane
    from cython.cimports.app.front.sockets import accept_peer
    from cython.cimports.app.front.sockets import close as c_close
    from cython.cimports.app.front.sockets import read as c_read
    from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
    from cython.cimports.libc.errno import errno as c_errno
else:
    from app.front.lane import Lane

__all__ = ["Listener"]

ACCEPTS_MAX = 64
QUEUE_MAX = 8192  # twice the backlog, taken at the end: whoever comes faster than that has siblings to go to
READ_BYTES = 16 * 1024  # one head at most
PAUSE_S = 0.1
#: How long the kernel waits for the first bytes before it hands a silent client over; it makes 3 of 2 (its retransmits
#: of a SYN-ACK come after 1, 3 and 7 s), and those count for FIRST_BYTE_S.
DEFER_S = 2
DEFERRED_S = 3
HANDOVER_S = 0.05  # handshakes that have begun when the end begins: many times a loopback's or a rack's round trip

SO_ATTACH_FILTER = 26  # socket(7); Python does not name it
#: A filter (bpf, Linux's filter.rst) over the TCP header: drops what has SYN and not ACK.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte of flags
    (0x54, 0, 0, 0x12),  # of it SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # keep it whole
)

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_TAKEN, _EMPTY, _PAUSED = 0, 1, 2

if compiled:
    _into = cython.declare(cython.uchar[16384])


@cython.cclass
class Listener:
    """One listening socket of one process. Everything else about a connection is `Connection`'s."""

    lane: Lane
    gate: Any
    sock: Any
    loop: Any
    tasks: Any
    descriptor: cython.int
    deferred_s: cython.int

    def __init__(self, sock: socket.socket, gate: Gate, loop: asyncio.AbstractEventLoop) -> None:
        self.sock = sock
        self.gate = gate
        self.lane = gate.lane
        self.loop = loop
        self.tasks: set[asyncio.Task[Any]] = set()
        self.descriptor = sock.fileno()
        sock.setblocking(False)
        self.deferred_s = DEFERRED_S if _defer(sock, DEFER_S) else 0
        loop.add_reader(self.descriptor, self.on_readable)

    def on_readable(self) -> None:
        """Connections are waiting: takes some."""
        for _ in range(ACCEPTS_MAX):
            outcome = self._accept()
            if outcome == _PAUSED:
                self.gate.counts.refused_connections += 1
                self.loop.remove_reader(self.descriptor)
                self.loop.call_later(PAUSE_S, self._go_on)
            if outcome != _TAKEN:
                return

    async def close(self) -> None:
        """No new connections from now on; those that wait are served here, or by a sibling where the kernel can."""
        if self.descriptor < 0:
            return
        is_emptied_here = not queue_moves() or self.sock.family == socket.AF_UNIX
        if is_emptied_here:
            _defer(self.sock, 0)
            self.deferred_s = 0
            _turn_away(self.sock)
            await asyncio.sleep(HANDOVER_S)
        self.loop.remove_reader(self.descriptor)
        if is_emptied_here:
            for _ in range(QUEUE_MAX):
                if self._accept() != _TAKEN:
                    break
        self.sock.close()
        self.descriptor = -1
        if self.tasks:
            await asyncio.wait(self.tasks)

    def _go_on(self) -> None:
        if self.descriptor >= 0:
            self.loop.add_reader(self.descriptor, self.on_readable)

    @cython.cfunc
    def _accept(self) -> cython.int:
        """One connection, if one waits: _TAKEN, _EMPTY, or _PAUSED when no descriptor is left for it."""
        descriptor: cython.int
        number: cython.int
        if compiled:
            peer: bytes = PyBytes_FromStringAndSize(cython.NULL, 16)
            start: cython.p_uchar = peer
            descriptor = accept_peer(self.descriptor, start)
            number = c_errno
        else:
            try:
                descriptor, address = self.sock._accept()
                number = 0
            except OSError as error:
                descriptor, number = -1, error.errno or 0
            else:
                peer = pack_peer(address)
                os.set_blocking(descriptor, False)
        if descriptor >= 0:
            self._serve(descriptor, peer)
            return _TAKEN
        if number in _NO_DESCRIPTOR:
            return _PAUSED
        return _EMPTY if number in (errno.EAGAIN, errno.EBADF) else _TAKEN  # else: that client is gone already

    @cython.cfunc
    def _serve(self, descriptor: cython.int, peer: bytes) -> object:
        """Reads what is there; answers it here if that ends the connection, else hands it to a transport."""
        size: cython.Py_ssize_t
        if compiled:
            size = c_read(descriptor, _into, READ_BYTES)
            data: bytes = PyBytes_FromStringAndSize(cython.cast(cython.p_char, _into), max(0, size))
        else:
            try:
                data = os.read(descriptor, READ_BYTES)
                size = len(data)
            except OSError:
                data, size = b"", -1
        if size == 0:
            _close(descriptor)
            return None
        lane = self.lane
        outcome: cython.int = lane.answer(data, peer, descriptor, True) if size > 0 else MISSED
        unsent = b""
        if outcome != MISSED:
            data = b""
            unsent, lane.unsent = lane.unsent, b""
        if outcome == CLOSES and not unsent:
            _close(descriptor)
            return None
        early = None if size < 0 else (data, unsent, outcome == CLOSES)
        self._adopt(descriptor, peer, early)
        return None

    def _adopt(self, descriptor: int, peer: bytes, early: Any) -> None:
        """Makes a transport for a connection that goes on."""
        sock = socket.socket(self.sock.family, socket.SOCK_STREAM, self.sock.proto, descriptor)
        make = partial(Connection, self.gate, peer, early, self.deferred_s)
        task = self.loop.create_task(self.loop.connect_accepted_socket(make, sock))
        self.tasks.add(task)
        task.add_done_callback(self._on_adopted)

    def _on_adopted(self, task: Any) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a client that is gone before its transport is made is nobody's fault


@cython.cfunc
def _close(descriptor: cython.int) -> object:
    if compiled:
        c_close(descriptor)
    else:
        os.close(descriptor)
    return None


def _defer(sock: socket.socket, seconds: int) -> bool:
    """Asks the kernel to wake us when a new connection's first bytes are there; 0: at once, as ever. Whether it can."""
    if sock.family == socket.AF_UNIX:
        return False
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, seconds)
    return True


def _turn_away(sock: socket.socket) -> None:
    """Has the kernel drop each SYN for this listener: who sent it sends it again in a second, when others listen.

    Handshakes that have begun go on. A close alone resets whoever came since the last look at the queue, and whoever
    was in the middle of a handshake. Connections that are accepted now inherit the filter; they get no SYN.
    """
    if sock.family == socket.AF_UNIX:
        return
    program = ctypes.create_string_buffer(b"".join(pack("HBBI", *instruction) for instruction in _DROP_SYN))
    with suppress(OSError):  # a kernel that has no filters, or a sandbox that forbids them
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pack("HP", len(_DROP_SYN), ctypes.addressof(program)))
