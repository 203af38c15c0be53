"""One answer that is not a plain hit: looked up, decided, journaled and written in its turn.

In: a judged head, from the connection. Out: the answer's bytes, once they are known and it is their turn.
May import: redirect, journal, and `gate`; no Tornado.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from app.front.gate import Gate, Owner
from app.front.head import Careful
from app.journal import NO_LINK, Outcome, flags_of
from app.redirect import Decision, decide

__all__ = ["Slot"]

_OUTCOMES = {
    HTTPStatus.NOT_FOUND: Outcome.NOT_FOUND,
    HTTPStatus.GONE: Outcome.GONE,
    HTTPStatus.SERVICE_UNAVAILABLE: Outcome.UNAVAILABLE,
}


class Slot:
    """One answer that is not a plain hit: perhaps not known yet, perhaps behind others that are not."""

    __slots__ = ("_connection", "_decision", "_found", "_gate", "_head", "close")

    def __init__(self, connection: Owner, gate: Gate, head: bytes, found: Careful) -> None:
        self._connection = connection
        self._gate = gate
        self._head = head
        self._found = found
        self._decision: Decision | None = None
        self.close = found.close or gate.draining

    @property
    def is_known(self) -> bool:
        """Whether `answer` may be called."""
        return self._decision is not None

    def start(self) -> None:
        """Looks the answer up; when it must be waited for, the connection's `settle` is called later."""
        key = self._gate.key_of(self._found)
        if key is None:
            self._decision = Decision(HTTPStatus.NOT_FOUND, NO_LINK, b"", counts=False)
            return
        entry = self._gate.table.find(key)
        if entry is None and self._gate.table.is_absent(key, self._gate.now()):
            self._decision = Decision(HTTPStatus.NOT_FOUND, NO_LINK, b"")
        elif entry is None:
            self._gate.resolver.resolve(key, self._on_resolved)
        else:
            self._gate.warm_hits += 1
            self._decision = decide(entry, self._gate.now(), self._found.query)

    def answer(self) -> bytes:
        """The bytes to send; journals them first, so call it only when they are about to leave."""
        decision = self._decision
        assert decision is not None
        gate, found = self._gate, self._found
        if decision.status in (301, 302, 307, 308):
            gate.counts.redirects += 1
            self._journal(decision, Outcome.REDIRECT)
            return gate.book.redirect(decision.location, decision.status, close=self.close)
        outcome = _OUTCOMES[HTTPStatus(decision.status)]
        if outcome is Outcome.NOT_FOUND:
            gate.counts.not_found += 1
        elif outcome is Outcome.GONE:
            gate.counts.gone += 1
        else:
            gate.counts.unavailable += 1
        if decision.counts:
            self._journal(decision, outcome)
        return gate.book.failure(decision.status, self._head, is_head=found.is_head, close=self.close)

    def _on_resolved(self, decision_or_entry: Any) -> None:
        """The resolver's word: an entry, or the status of what is not one."""
        if isinstance(decision_or_entry, int):
            self._decision = Decision(decision_or_entry, NO_LINK, b"")
        else:
            self._decision = decide(decision_or_entry, self._gate.now(), self._found.query)
        self._connection.settle()

    def _journal(self, decision: Decision, outcome: Outcome) -> None:
        self._gate.append(
            self._head,
            int(self._gate.now() * 1000),
            decision.link_id,
            0,
            flags_of(outcome, is_head=self._found.is_head),
            self._connection.peer,
        )
