"""One answer that is not a plain hit: looked up, decided, journaled and written in its turn.

In: a judged head, from the connection. Out: the answer's bytes, once they are known and it is their turn.

    started   the table knows the link, or the resolver is asked
    errands   `decide` wants to know something first (a visit, a password): it is run, and `decide` asked again
    known     the decision stands; `answer` journals it and makes the bytes

May import: redirect, journal, observe, and `gate`; no Tornado.
"""

from __future__ import annotations

from http import HTTPStatus

from app.front.gate import Gate, Owner
from app.front.head import Careful
from app.journal import NO_LINK, REDIRECT_GET, REDIRECT_HEAD, Outcome, flags_of
from app.observe import OFF, Span, begin, is_tracing, parent_in
from app.redirect import (
    NOTHING_KNOWN,
    PAGE_STATUSES,
    Decision,
    Entry,
    Known,
    Request,
    Visitor,
    decide,
    decide_plain,
    is_cross_site,
    password_page,
)

__all__ = ["Slot"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OUTCOMES = {
    HTTPStatus.NOT_FOUND: Outcome.NOT_FOUND,
    HTTPStatus.GONE: Outcome.GONE,
    HTTPStatus.SERVICE_UNAVAILABLE: Outcome.UNAVAILABLE,
    **dict.fromkeys(PAGE_STATUSES, Outcome.PASSWORD),
}

#: What a domain may lead elsewhere; it stays what it is in the journal and the counts.
_NOTHING_THERE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})

_ROUTE = "/{slug}"

_LIMITED = Decision(HTTPStatus.TOO_MANY_REQUESTS, NO_LINK, counts=False)


class Slot:
    """One answer that is not a plain hit: perhaps not known yet, perhaps behind others that are not."""

    # fmt: off
    __slots__ = (
        "_connection", "_decision", "_entry", "_folded", "_found", "_gate", "_head", "_key", "_known", "_request",
        "_rest", "_span", "close",
    )
    # fmt: on

    def __init__(self, connection: Owner, gate: Gate, head: bytes, found: Careful) -> None:
        self._connection = connection
        self._gate = gate
        self._head = head
        self._found = found
        self._decision: Decision | None = None
        self._request: Request | None = None
        self._known = NOTHING_KNOWN
        self.close = found.close or gate.draining

    @property
    def is_known(self) -> bool:
        """Whether `answer` may be called."""
        return self._decision is not None

    def start(self) -> None:
        """Looks the answer up; when it must be waited for, the connection's `settle` is called later."""
        gate = self._gate
        key, rest = gate.key_of(self._found)
        if key is None:
            status = HTTPStatus.NOT_FOUND if gate.hosts.is_complete else HTTPStatus.SERVICE_UNAVAILABLE
            self._decision = Decision(status, NO_LINK, counts=False)
            return
        self._key = key
        self._rest = rest
        self._folded = gate.hosts.fold(key)
        self._look_up()

    def _look_up(self) -> None:
        """Of a case-insensitive domain first as it is spelled: a link may be older than that."""
        gate, key = self._gate, self._key
        entry = gate.table.find(key)
        if entry is None and gate.table.is_absent(key, gate.now()):
            if self._folded:
                self._look_up_folded()
            else:
                self._decision = Decision(HTTPStatus.NOT_FOUND, NO_LINK, counts=not self._rest)
            return
        if entry is None:
            if gate.scans.is_over(self._address()):
                self._decision = _LIMITED
            else:
                self._span = self._begin_span() if is_tracing() else OFF
                gate.resolver.resolve(key, self._on_resolved, self._span)
        else:
            gate.warm_hits += 1
            self._decide(entry)

    def _look_up_folded(self) -> None:
        self._key, self._folded = self._folded, b""
        self._look_up()

    def answer(self) -> bytes:
        """The bytes to send; journals them first, so call it only when they are about to leave."""
        decision = self._decision
        assert decision is not None
        gate, found = self._gate, self._found
        if decision.status in _REDIRECTS:
            gate.counts.redirects += 1
            self._journal(decision, REDIRECT_HEAD if found.is_head else REDIRECT_GET)
            return gate.book.redirect(decision.location, decision.status, close=self.close)
        if decision is _LIMITED:
            gate.counts.limited += 1
            return gate.book.failure(decision.status, self._head, is_head=found.is_head, close=self.close)
        outcome = _OUTCOMES.get(HTTPStatus(decision.status))
        if outcome is not None:
            gate.counts.count(outcome)
            if decision.counts:
                self._journal(decision, flags_of(outcome, is_head=found.is_head))
        if outcome is Outcome.PASSWORD:
            return password_page(
                decision.status, gate.book.date, wait_s=decision.wait_s, is_head=found.is_head, close=self.close
            )
        fallback = self._fallback(decision)
        if fallback:
            # What follows a form is a GET: its password is for nobody else.
            code = HTTPStatus.FOUND if found.form is None else HTTPStatus.SEE_OTHER
            return gate.book.redirect(fallback, code, close=self.close)
        return gate.book.failure(decision.status, self._head, is_head=found.is_head, close=self.close)

    def _fallback(self, decision: Decision) -> bytes:
        """Where the domain leads visitors who find nothing; b"" when nowhere."""
        if decision.status not in _NOTHING_THERE or decision.is_final:
            return b""
        options = self._gate.hosts.options(self._found.host)
        return b"" if options is None else options.not_found_target.encode("ascii")

    def _address(self) -> str:
        return self._gate.specials.visitors.address(self._head, self._connection.peer)

    def _decide(self, entry: Entry) -> None:
        if isinstance(entry, bytes):
            self._decision = decide_plain(entry, self._rest, self._found.form)
            return
        request = self._request
        if request is None:
            request = self._request = self._make_request()
        decision = decide(entry, self._gate.now(), request, self._known)
        if isinstance(decision, Decision):
            self._decision = decision
        else:
            self._entry = entry
            self._gate.specials.run(decision, entry, request, self._known, self._on_known)

    def _make_request(self) -> Request:
        found = self._found
        return Request(
            key=self._key,
            query=found.query,
            visitor=Visitor(self._gate.specials.visitors, self._head, self._connection.peer),
            rest=self._rest,
            is_head=found.is_head,
            form=found.form,
            is_cross_site=found.form is not None and is_cross_site(self._head),
        )

    def _on_resolved(self, answer: Entry | int) -> None:
        """The resolver's word: an entry, or the status of what is not one."""
        if answer == HTTPStatus.NOT_FOUND and self._folded:
            self._span.end()
            self._span = OFF
            self._look_up_folded()
            if not self.is_known:
                return
        elif isinstance(answer, int):
            self._decision = Decision(answer, NO_LINK)
            if answer == HTTPStatus.NOT_FOUND:
                self._gate.scans.on_unknown(self._address())
        else:
            self._decide(answer)
        if self._decision is not None:
            self._span.set("http.response.status_code", int(self._decision.status))
        self._span.end()
        self._connection.settle()

    def _begin_span(self) -> Span:
        """Told when its link is found, or not."""
        method = "HEAD" if self._found.is_head else "GET" if self._found.form is None else "POST"
        attributes = {"http.request.method": method, "http.route": _ROUTE}
        return begin(f"{method} {_ROUTE}", attributes, parent=parent_in(self._head), is_request=True)

    def _on_known(self, known: Known) -> None:
        """An errand's word."""
        self._known = known
        self._decide(self._entry)
        self._connection.settle()

    def _journal(self, decision: Decision, flags: int) -> None:
        self._gate.append(
            self._head,
            int(self._gate.now() * 1000),
            decision.link_id,
            decision.variant,
            flags,
            self._connection.peer,
        )
