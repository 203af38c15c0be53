"""Visits as they are counted, for whoever watches just now: best effort, over Redis's pub/sub."""

from app.feed.events import ALL_LINKS, Glimpse, Seen
from app.feed.hub import FullError, Hub, Stream
from app.feed.publisher import Publisher
from app.feed.tap import Tap

__all__ = ["ALL_LINKS", "FullError", "Glimpse", "Hub", "Publisher", "Seen", "Stream", "Tap"]
