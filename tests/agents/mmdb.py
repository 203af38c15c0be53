"""Writes small MMDB files (MaxMind DB format 2.0), so that tests need no download.

https://maxmind.github.io/MaxMind-DB/: a binary tree over the bits of an address, 24-bit records; then 16 zero bytes,
the data section and, behind a marker, the metadata.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path

_MARKER = b"\xab\xcd\xefMaxMind.com"
_SEPARATOR = bytes(16)
_UINT16, _UINT64 = 5, 9
_KINDS = {
    "binary_format_major_version": _UINT16,
    "binary_format_minor_version": _UINT16,
    "build_epoch": _UINT64,
    "ip_version": _UINT16,
    "record_size": _UINT16,
}


def write_mmdb(path: Path, rows: Mapping[str, Mapping[str, object]], *, ip_version: int = 6) -> None:
    """Writes a file that says `rows[network]` of each network; IPv4 lies in ::/96, as everywhere."""
    data = bytearray()
    tree: list[list[int | None]] = [[None, None]]  # a record: a node's number, or -1 - an offset in the data
    for text, row in rows.items():
        network = ipaddress.ip_network(text)
        bits, length = int(network.network_address), network.prefixlen
        width = 128 if ip_version == 6 else 32
        if network.version == 4 and ip_version == 6:
            length += 96
        _insert(tree, bits, length, width, -1 - len(data))
        data += encode(row)
    path.write_bytes(_tree_bytes(tree) + _SEPARATOR + bytes(data) + _MARKER + encode(_metadata(len(tree), ip_version)))


def _insert(tree: list[list[int | None]], bits: int, length: int, width: int, leaf: int) -> None:
    node = 0
    for depth in range(length):
        side = bits >> (width - 1 - depth) & 1
        if depth == length - 1:
            tree[node][side] = leaf
            return
        following = tree[node][side]
        if following is None:
            following = len(tree)
            tree[node][side] = following
            tree.append([None, None])
        node = following


def _tree_bytes(tree: list[list[int | None]]) -> bytes:
    count = len(tree)
    out = bytearray()
    for node in tree:
        for record in node:
            value = count if record is None else record if record >= 0 else count + 16 - 1 - record
            out += value.to_bytes(3, "big")
    return bytes(out)


def _metadata(nodes: int, ip_version: int) -> dict[str, object]:
    return {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_700_000_000,
        "database_type": "Test-Country",
        "description": {"en": "a test"},
        "ip_version": ip_version,
        "languages": ["en"],
        "node_count": nodes,
        "record_size": 24,
    }


def encode(value: object, kind: int = 6) -> bytes:
    """A value of the data section: maps, lists, texts and whole numbers (uint32 unless said otherwise), all short."""
    if isinstance(value, str):
        return _control(2, len(value.encode())) + value.encode()
    if isinstance(value, int):
        packed = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return _control(kind, len(packed)) + packed
    if isinstance(value, Mapping):
        return _control(7, len(value)) + b"".join(encode(k) + encode(v, _KINDS.get(k, 6)) for k, v in value.items())
    assert isinstance(value, list)
    return _control(11, len(value)) + b"".join(map(encode, value))


def _control(kind: int, size: int) -> bytes:
    assert size < 285
    if kind > 7:  # extended: the kind stands in a byte of its own
        assert size < 29
        return bytes([size, kind - 7])
    return bytes([kind << 5 | size]) if size < 29 else bytes([kind << 5 | 29, size - 29])
