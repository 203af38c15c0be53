"""The dashboard's files, in memory.

All files but the page lie under a folder whose name is the digest of them all, so that browsers keep them for good, and
a new release is seen with its page. May import: nothing of ours.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["POLICY", "Asset", "Assets"]

FOLDER = Path(__file__).parent / "static"
PAGE = "index.html"
MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent; `etag` is quoted."""

    body: bytes
    media: str
    etag: str


class Assets:
    """All files.

    Attributes:
        page: the page, which knows where the others are.
        digest: the name of their folder, 16 hexadecimal digits.
    """

    def __init__(self, *, has_sign_on: bool) -> None:
        """`has_sign_on`: whether an identity provider signs people in."""
        bodies = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA}
        whole = hashlib.sha256(b"".join(name.encode() + b"\0" + body for name, body in bodies.items()))
        self.digest = whole.hexdigest()[:16]
        page = bodies.pop(PAGE).decode()
        self.page = _asset(PAGE, page.format(digest=self.digest, sign_on="on" if has_sign_on else "off").encode())
        self._files = {name: _asset(name, body) for name, body in bodies.items()}

    def find(self, name: str) -> Asset | None:
        """A file by its name; None when there is none."""
        return self._files.get(name)


def _asset(name: str, body: bytes) -> Asset:
    return Asset(body, MEDIA[Path(name).suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')
