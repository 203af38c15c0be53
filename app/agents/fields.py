"""Finds the fields of a head that say something of a visitor. Pure: bytes in, values out.

In: a head as it was journaled, cut perhaps, framed well (the front took it). Out: values by name in lower case. Nothing
is judged here: a field is a line break, a wanted name, a colon, and what stands up to the next line break. Of a name
that comes twice the first value counts, but for `x-forwarded-for` and `forwarded`, which one proxy writes after
another: those are joined by commas.

Interpreted, it is one regular expression, 2.5 µs for a head that a proxy passed on; compiled, one scan, 0.5 µs. Both
give the same for any bytes. May import: the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import cython

if cython.compiled:
    from cython.cimports.libc.string import memchr

__all__ = ["FieldFinder"]

_LISTS = frozenset({b"x-forwarded-for", b"forwarded"})
_NAME_BYTES_MAX = 63  # a longer wanted name is never found


@cython.cclass
class FieldFinder:
    """Finds the fields of some names.

    Args:
        names: in lower case, at most _NAME_BYTES_MAX bytes each.
    """

    _names = cython.declare(frozenset)
    _lengths = cython.declare(cython.ulonglong)
    _search = cython.declare(object)

    def __init__(self, names: Iterable[bytes]) -> None:
        self._names = frozenset(names)
        self._lengths = 0
        for name in self._names:
            assert 0 < len(name) <= _NAME_BYTES_MAX
            self._lengths |= cython.cast(cython.ulonglong, 1) << len(name)
        choice = b"|".join(re.escape(name) for name in sorted(self._names))
        self._search = re.compile(rb"\n(" + choice + rb"):[ \t]*+([^\r\n]*+)", re.IGNORECASE).findall

    def find(self, head: bytes) -> dict[bytes, bytes]:
        """The fields that are there; the request line plays no part."""
        if cython.compiled:
            return self._scan(head)
        found: dict[bytes, bytes] = {}
        for name, value in self._search(head):
            _keep(found, name.lower(), value)
        return found

    def _scan(self, head: bytes) -> dict[bytes, bytes]:
        """The same, byte by byte: each line whose name has the length of a wanted one is looked up."""
        found: dict[bytes, bytes] = {}
        size: cython.Py_ssize_t = len(head)
        at: cython.Py_ssize_t = 0
        colon: cython.Py_ssize_t
        end: cython.Py_ssize_t
        length: cython.Py_ssize_t
        if cython.compiled:
            data: cython.p_uchar = head
        else:
            data = head
        while True:
            at = _find(data, 10, at, size) + 1
            if at == 0:
                return found
            colon = at
            while colon < size and colon - at <= 63 and data[colon] != 58 and data[colon] > 32:
                colon += 1
            length = colon - at
            if colon >= size or data[colon] != 58 or length > 63:
                continue
            if not self._lengths >> length & 1:
                continue
            name = head[at:colon].lower()
            if name not in self._names:
                continue
            colon += 1
            while colon < size and (data[colon] == 32 or data[colon] == 9):
                colon += 1
            end = colon
            while end < size and data[end] != 13 and data[end] != 10:
                end += 1
            _keep(found, name, head[colon:end])
            at = end


@cython.cfunc
@cython.inline
def _find(data: cython.p_uchar, byte: cython.int, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The first place of a byte from `at` on; -1 without one."""
    if not cython.compiled:
        return data.find(byte, at)
    if at >= size:
        return -1
    found: cython.p_uchar = cython.cast(cython.p_uchar, memchr(data + at, byte, size - at))
    return -1 if found is cython.NULL else found - data


def _keep(found: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    if name not in found:
        found[name] = value
    elif name in _LISTS:
        found[name] += b"," + value
