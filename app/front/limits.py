"""The states of a connection, and how long and how much each may last.

Numbers only; `app.front.connection` says what they do. May import: nothing.
"""

from __future__ import annotations

__all__ = [
    "BODY_S",
    "BUFFER_BYTES_MAX",
    "CLOSED",
    "DRAIN_IDLE_S",
    "EXCHANGE",
    "FIRST_BYTE_S",
    "HEAD_S",
    "IDLE",
    "IDLE_S",
    "LINGERING",
    "READING",
    "SETTLED_MAX",
    "SILENT_S",
    "STATE_LIMIT_S",
    "TURN_ANSWERS_MAX",
    "UNSENT_BYTES_MAX",
    "UNSENT_S",
    "WAITING",
    "WAITING_MAX",
]

IDLE, READING, WAITING, EXCHANGE, LINGERING, CLOSED = range(6)

FIRST_BYTE_S = 5  # a client that connects and says nothing
IDLE_S = 75  # nginx's keepalive_timeout, so that a proxy in front seldom meets a closing connection
SILENT_S = IDLE_S - FIRST_BYTE_S  # so much older counts a client that has not said a word
HEAD_S = 10  # for a whole head, from its first byte
#: How long a connection may stay in a state; WAITING is bounded by the resolver, a running handler by itself.
STATE_LIMIT_S = {IDLE: IDLE_S, READING: HEAD_S, LINGERING: 2}
#: While draining: a client that has just come or been answered may be sending a request, which a close would reset.
DRAIN_IDLE_S = 2
BODY_S = 30  # for the whole body of a request
UNSENT_S = 60  # a client that reads nothing while answers wait for it
TURN_ANSWERS_MAX = 64  # then other connections get their turn
WAITING_MAX = 32  # answers that wait for a store, for each connection
SETTLED_MAX = 8  # of these, sent at once; then it is seen whether the client reads
UNSENT_BYTES_MAX = 64 * 1024  # then reading pauses until the client has read
BUFFER_BYTES_MAX = 64 * 1024  # unjudged bytes that are kept while something is waited for
