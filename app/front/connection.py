"""One client connection: reads, keeps answers in the order of requests, limits, timeouts, drain.

In: bytes from a transport. Out: answers, and one journal record for each redirect before its answer leaves.
A connection is in one state at a time; bytes that cannot be judged yet wait in `buffer`:

    IDLE      nothing is buffered, waited for or unsent: a plain hit is answered in one call, without await
    READING   part of a head is in `buffer`
    WAITING   answers that are not known yet are in `queue`; those behind them wait for their turn
    EXCHANGE  h11 and Tornado answer one request that is not plain; its bytes go to `exchange`
    LINGERING the last answer is written, the client's bytes are thrown away until it closes (RFC 9112 9.6)
    CLOSED

One typed source, compiled by Cython where there is a C compiler and interpreted elsewhere: the first fifty lines of
`Connection` run for every redirect (docs/performance.md). May import: redirect, journal; no Tornado.
"""

from __future__ import annotations

import os
from collections import deque
from fcntl import ioctl
from termios import FIONREAD
from typing import Any

import cython
from cython import compiled

from app.front import limits
from app.front.gate import Exchange, Gate, Transport
from app.front.head import HEAD_BYTES_MAX, Careful, could_be_plain, judge
from app.front.lane import KEPT
from app.front.slot import Slot

if compiled:
    from cython.cimports.app.front.lane import Lane
else:
    from app.front.lane import Lane

__all__ = ["Connection"]

_NONE = bytes(4)
_no_bytes = cython.declare(bytes, b"")
_idle = cython.declare(cython.int, limits.IDLE)


@cython.cfunc
def _send(descriptor: cython.int, data: bytes) -> cython.Py_ssize_t:
    """How many bytes the socket took at once; 0 when it is full or broken: the transport then waits, or reports it."""
    try:
        return os.write(descriptor, data)
    except OSError:
        return 0


def has_unread(descriptor: int) -> bool:
    """Whether bytes came that were not read yet."""
    return descriptor >= 0 and ioctl(descriptor, FIONREAD, _NONE) != _NONE


@cython.cclass
class Connection:
    """The six callbacks of `asyncio.Protocol`, without its base, which a compiled class cannot have."""

    gate: Gate
    lane: Lane
    state: cython.int
    since: cython.longlong
    fd: cython.int
    _fd: cython.int
    buffer: bytes
    queue: Any
    exchange: Any
    early: Any
    paused: cython.bint
    scheduled: cython.bint
    ended: cython.bint

    if compiled:
        # What exchanges and slots see; an attribute of a compiled class is invisible unless it says so.
        transport = cython.declare(object, visibility="public")
        peer = cython.declare(bytes, visibility="public")
        stalled = cython.declare(cython.bint, visibility="public")
    else:
        # fmt: off
        __slots__ = (
            "_fd", "buffer", "early", "ended", "exchange", "fd", "gate", "lane", "paused", "peer", "queue", "scheduled",
            "since", "stalled", "state", "transport",
        )
        # fmt: on

    def __init__(self, gate: Gate, peer: bytes, early: Any = None, silent_s: int = 0) -> None:
        """`early` is what `Listener` has read and answered: (bytes to judge, bytes to send, whether that was all).

        A client of which nothing came was silent for `silent_s` already.
        """
        self.gate = gate
        self.lane = gate.lane
        self.peer = peer
        self.early = early
        self.state = limits.IDLE
        self.buffer = _no_bytes
        self.queue = None
        self.exchange: Exchange | None = None
        self.stalled = self.paused = self.scheduled = self.ended = False
        self.fd = self._fd = -1
        self.since = self.lane.second
        if early is None:  # a client that has not said a word is "idle" for a shorter time
            self.since -= limits.SILENT_S + silent_s

    def data_received(self, data: bytes) -> None:
        """Bytes came; the common case is answered here and now."""
        lane = self.lane
        if self.state == _idle and lane.answer(data, self.peer, self.fd, False) == KEPT:
            self.since = lane.second
            if lane.unsent:
                self._leave_to_transport()
            return
        self._take(data)

    def connection_made(self, transport: Transport) -> None:
        """A client connected."""
        self.transport = transport
        transport.set_write_buffer_limits(high=limits.UNSENT_BYTES_MAX)
        raw = transport.get_extra_info("socket")
        self.fd = self._fd = -1 if raw is None else raw.fileno()
        early, self.early = self.early, None
        data, unsent, ends = (_no_bytes, _no_bytes, False) if early is None else early
        if unsent:
            self.lane.unsent = unsent
            self._leave_to_transport()
        if not self.gate.admit(self):
            if data or early is None:  # who was answered already asked for nothing more
                self.write(self.gate.overloaded(data))
            self._finish(gently=self.gate.let_linger(self))
        elif ends:
            self._finish()
        elif data:  # in the next turn: uvloop starts reading after this call, whatever was paused within it
            self.buffer = data
            self._rest()
            self._schedule()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self.state = limits.CLOSED
        self.buffer = _no_bytes
        self.gate.connections.discard(self)
        self.gate.refused.discard(self)
        if self.exchange is not None:
            exchange, self.exchange = self.exchange, None
            exchange.on_lost()

    def eof_received(self) -> bool:
        """The client sends no more; answers that it still waits for are sent before the end."""
        self.ended = True
        if self.state == limits.EXCHANGE:
            self.exchange.on_end()
        if self.scheduled or (self.stalled and self.buffer):
            return True  # whole heads wait for their turn
        return self.state in (limits.WAITING, limits.EXCHANGE)

    def pause_writing(self) -> None:
        """The client reads more slowly than it asks."""
        self.stalled = True
        self.since = self.lane.second
        self.update_reading()

    def resume_writing(self) -> None:
        """The client has read on."""
        self.stalled = False
        self.update_reading()
        if self.exchange is not None:
            self.exchange.on_writable()
        elif self.state == limits.WAITING:
            self.settle()
        elif self.buffer:
            self._advance()

    # What the rest of the front calls.

    def write(self, data: bytes) -> None:
        """Sends now what the socket takes, if nothing is unsent before it, and the rest by the transport."""
        if self.fd < 0 and self._fd >= 0 and self.transport.get_write_buffer_size() == 0:
            self.fd = self._fd
        sent: cython.Py_ssize_t = _send(self.fd, data) if self.fd >= 0 else 0
        if sent != len(data):
            self.fd = -1
            self.transport.write(data[sent:])

    def expire(self, second: int) -> None:
        """Ends the connection if it has been in its state for too long; called about once a second."""
        aged = second - self.since
        limit = limits.UNSENT_S if self.stalled else limits.STATE_LIMIT_S.get(self.state)
        if limit is not None and aged > limit:  # never before the time is up, at most a second later
            self.gate.expired += 1
            self.fd = self._fd = -1  # a closed descriptor's number may soon be another client's
            self.transport.abort() if self.stalled else self.transport.close()
        elif self.state == limits.EXCHANGE:
            self.exchange.expire(second)
        elif self.gate.draining and self._may_end(aged):
            self._finish()

    def settle(self) -> None:
        """Sends the answers that have become known, in order, and goes on with what was buffered meanwhile."""
        if self.state != limits.WAITING:
            return
        out: list[bytes] = []
        while self.queue and self.queue[0].is_known and not self.stalled:
            slot = self.queue.popleft()
            out.append(slot.answer())
            if slot.close or len(out) == limits.SETTLED_MAX:
                self._flush(out)
            if slot.close:
                self._finish()
                return
        self._flush(out)
        if not self.queue:
            self._rest()
        self._advance()

    def exchange_done(self, rest: bytes, close: bool) -> None:
        """The exchange's answer is written; `rest` are the bytes that came behind its request."""
        self.exchange = None
        if self.state == limits.CLOSED:
            return
        if close:
            self._finish(gently=True)
            return
        self.buffer = rest
        self._rest()
        self._schedule()
        self.update_reading()

    def answer_slug(self, head: bytes, found: Careful, rest: bytes) -> None:
        """A GET of a slug that h11 has judged; from here on it is answered like a plain one."""
        self.exchange = None
        self.buffer = rest
        self._rest()
        out: list[bytes] = []
        done = self._answer(head, found, out)
        self._flush(out)
        if done:
            self._finish()
        else:
            self._schedule()
            self.update_reading()

    # What happens to bytes that are not one plain hit.

    def _take(self, data: bytes) -> None:
        if self.state == limits.EXCHANGE:
            self.exchange.feed(data)
            self.update_reading()
        elif self.state < limits.LINGERING:
            is_judged = self.state == limits.READING and not (self.scheduled or self.stalled)
            seen = max(0, len(self.buffer) - 3) if is_judged else 0
            self.buffer = self.buffer + data if self.buffer else data
            self._advance(seen)

    def _advance(self, seen: int = 0) -> None:
        """Takes heads off the buffer until it holds none, or something must be waited for first.

        `seen` bytes hold no end of a head: without it, a head that comes byte by byte would cost a second.
        """
        data = self.buffer
        position = 0
        answered = out_bytes = 0
        out: list[bytes] = []
        done = False
        while position < len(data) and not (self.stalled or self.scheduled or self.state == limits.EXCHANGE):
            if answered >= limits.TURN_ANSWERS_MAX or out_bytes > limits.UNSENT_BYTES_MAX:
                self._schedule()
                break
            waiting = len(self.queue) if self.queue else 0
            if waiting >= limits.WAITING_MAX or (waiting and self.queue[waiting - 1].close):
                break  # enough is waited for, or what follows a last request is not asked (RFC 9112 9.6)
            end = data.find(b"\r\n\r\n", position + seen) + 4
            head = data[position:end] if end > 3 else data[position:]
            found = judge(head) if 3 < end <= position + HEAD_BYTES_MAX else None
            if found is None and end == 3 and len(head) <= HEAD_BYTES_MAX and could_be_plain(head, seen):
                break
            if found is None or not self.gate.is_ours(found.path):
                if not self.queue:
                    self._flush(out)
                    if position or self.state != limits.READING:
                        self.since = self.lane.second
                    self._begin_exchange(data[position:])
                    return
                break
            position, seen = end, 0
            answered += 1
            done = self._answer(head, found, out)
            if done:
                break
            out_bytes += len(out[len(out) - 1]) if out else 0
        self.buffer = data[position:] if position else data
        self._flush(out)
        if done:
            self._finish()
            return
        if self.state in (limits.IDLE, limits.READING):
            self._rest()
            if position:  # a client that keeps asking is not slow, though a part of its next head is always here
                self.since = self.lane.second
        self.update_reading()
        self._end_if_done()

    def _answer(self, head: bytes, found: Careful, out: list[bytes]) -> bool:
        """Answers one judged head, in `out` or by a slot in the queue; True when the connection ends after it."""
        slot = Slot(self, self.gate, head, found)
        slot.start()  # calls back in a later turn, if at all
        if slot.is_known and not self.queue:
            out.append(slot.answer())
            return slot.close
        if self.queue is None:
            self.queue = deque()
        self.queue.append(slot)
        self.state = limits.WAITING
        return False

    def _begin_exchange(self, data: bytes) -> None:
        self.buffer = _no_bytes
        self.state = limits.EXCHANGE
        self.fd = -1  # the exchange writes by the transport
        self.exchange = self.gate.make_exchange(self)
        self.exchange.since = self.since  # when the head's first byte came
        self.exchange.feed(data)
        if self.ended and self.exchange is not None:
            self.exchange.on_end()
        self.update_reading()

    def _leave_to_transport(self) -> None:
        """What the socket did not take, or was not offered because the transport had something to send first."""
        unsent, self.lane.unsent = self.lane.unsent, _no_bytes
        self.write(unsent)

    def _flush(self, out: list[bytes]) -> None:
        if out:
            self.write(b"".join(out))
            out.clear()

    def _may_end(self, aged: int) -> bool:
        """While draining: whether the client is idle, and nothing came that the next turn would answer."""
        is_idle = self.state == limits.IDLE and aged % limits.SILENT_S >= limits.DRAIN_IDLE_S
        return is_idle and not has_unread(self._fd)

    def _rest(self) -> None:
        """Nothing is waited for: what is buffered, if anything, is part of a head."""
        state = limits.READING if self.buffer else limits.IDLE
        if state != self.state or state == limits.IDLE:
            self.since = self.lane.second
        self.state = state

    def _end_if_done(self) -> None:
        """Ends a half-closed connection when everything that it asked is answered; a part of a head is not."""
        if self.ended and self.state <= limits.READING and not (self.scheduled or (self.stalled and self.buffer)):
            self._finish()

    def _schedule(self) -> None:
        """Goes on with the buffer in the next turn of the loop."""
        if self.buffer and not self.scheduled:
            self.scheduled = True
            self.gate.call_soon(self._on_turn)
        self._end_if_done()

    def _on_turn(self) -> None:
        self.scheduled = False
        if self.state < limits.EXCHANGE:
            self._advance()

    def update_reading(self) -> None:
        """Pauses reading while answers are unsent, too many are waited for, or too much is unjudged."""
        full = self.queue is not None and len(self.queue) >= limits.WAITING_MAX
        held = len(self.buffer) if self.exchange is None else self.exchange.held_bytes
        pause = self.stalled or full or held > limits.BUFFER_BYTES_MAX
        if self.state >= limits.LINGERING or pause == self.paused:
            return
        self.paused = pause
        if pause:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _finish(self, gently: bool = False) -> None:
        """Ends the connection; gently when the client may still be sending, so that no reset eats the answer."""
        if self.state >= limits.LINGERING:
            return
        gently = gently or self.paused or self.buffer != _no_bytes or self.gate.draining
        self.buffer = _no_bytes
        self.queue = None
        self.since = self.lane.second
        self.state = limits.LINGERING
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        if self.ended or not gently:
            self.transport.close()
        else:
            self.transport.write_eof()
