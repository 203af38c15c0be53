"""Short URLs as QR codes, one after another in a thread: redirects of this process go on meanwhile.

May import: qr.
"""

from __future__ import annotations

import asyncio

from app.api.links import NO_LINK, LinkBase, view
from app.api.operation import Answer, operation
from app.api.parameters import LinkQuery
from app.qr import draw_svg

__all__ = ["QrHandler"]


class QrHandler(LinkBase):
    """The QR code of a link."""

    cost = 5

    @operation({200: Answer(media=("image/svg+xml",))}, query=LinkQuery, refuses={404: NO_LINK})
    async def get(self, slug: str) -> None:
        """Draw the short URL of a link as a QR code.

        Black on white, with its quiet zone, in any size; a scan is a visit like any other.
        """
        link = await self.find_link(self.key_of(slug, self.query(LinkQuery).domain))
        self.set_header("Content-Type", "image/svg+xml")
        short_url = view(link, self.services.settings.public_url).short_url
        async with self.services.drawing:
            drawing = await asyncio.to_thread(draw_svg, short_url)
        self.write(drawing)
