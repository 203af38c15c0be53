"""What a link is: model, slugs, URL policy, storage, announcing changes."""

from app.links.cache import CHANNEL, LinkCache, decode_message, encode_message
from app.links.catalog import Catalog
from app.links.model import Cached, CachedLink, Link, LinkState, join_key, split_key
from app.links.slugs import SlugError, check_slug
from app.links.storage import INDEXES, LINKS, LinkStore, Page, SlugTakenError
from app.links.targets import TargetError, authority_of, normalise_target

__all__ = [
    "CHANNEL",
    "INDEXES",
    "LINKS",
    "Cached",
    "CachedLink",
    "Catalog",
    "Link",
    "LinkCache",
    "LinkState",
    "LinkStore",
    "Page",
    "SlugError",
    "SlugTakenError",
    "TargetError",
    "authority_of",
    "check_slug",
    "decode_message",
    "encode_message",
    "join_key",
    "normalise_target",
    "split_key",
]
