"""`/dashboard`: the page for people and its files, for everyone; what it shows it asks of `/api/v1`, with their rights.

In: files in memory (`app.dashboard`). Out: their bytes. May import: dashboard.
"""

from __future__ import annotations

from http import HTTPStatus

from app.api.operation import Answer, operation
from app.api.problems import Problem
from app.api.system import PublicHandler
from app.dashboard import POLICY, Asset

__all__ = ["DashboardFileHandler", "DashboardHandler"]

FOR_GOOD = "public, max-age=31536000, immutable"
ASKED_AGAIN = "no-cache"


class _FileHandler(PublicHandler):
    """For everyone, as often as they like: it is in memory, and a page has a dozen files."""

    def send(self, asset: Asset, cache: str) -> None:
        """Answers with a file."""
        self.set_header("Content-Type", asset.media)
        self.set_header("Cache-Control", cache)
        self.set_header("ETag", asset.etag)
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.write(asset.body)
        self.spare_known()


class DashboardHandler(_FileHandler):
    """The page."""

    @operation({200: Answer(media=("text/html",))})
    async def get(self) -> None:
        """Show links, statistics and accounts to people.

        The page holds nothing of them: it asks this API, as whoever signs in there.
        """
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Robots-Tag", "noindex")
        self.send(self.services.dashboard.page, ASKED_AGAIN)


class DashboardFileHandler(_FileHandler):
    """A script, the style, the icon."""

    @operation(
        {200: Answer(media=("text/javascript", "text/css", "image/svg+xml"))}, refuses={404: "There is no such file."}
    )
    async def get(self, digest: str, name: str) -> None:
        """Send a file of the dashboard.

        Kept by browsers for good; under the digest of another release, which a reload leaves behind, asked for again.
        """
        assets = self.services.dashboard
        asset = assets.find(name)
        if asset is None:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such file.")
        self.send(asset, FOR_GOOD if digest == assets.digest else ASKED_AGAIN)
