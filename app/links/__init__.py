"""What a link is: model, slugs, URL policy, where it may lead, domains, storage, announcing changes."""

from app.links.branches import BRANCH_BYTES_MAX, RULES_MAX, VARIANTS_MAX, WEIGHT_MAX, Parameter, Rule, Variant, When
from app.links.cache import CHANNEL, LinkCache, decode_message, encode_message
from app.links.catalog import Catalog, Existing
from app.links.changes import ChangeFeed
from app.links.domains import Domain, DomainError, DomainStore, DomainWatch, normalise_domain
from app.links.folding import FoldingError
from app.links.labels import PLAIN_CODE
from app.links.listing import ORDERS, Listing, ListingError, Place, Wanted
from app.links.migrations import MIGRATIONS, OBSOLETE
from app.links.model import Broken, Cached, CachedLink, Link, LinkState, StoredLink, join_key, short_url, split_key
from app.links.noting import WriteNotes
from app.links.options import (
    PLAIN_OPTIONS,
    SLUG_BITS_MIN,
    DomainOptions,
    Robots,
    is_alphabet,
    slug_length_min,
)
from app.links.passwords import HasherBusyError, PasswordError, PasswordHasher, check_password
from app.links.slugs import Chance, SlugError, check_slug
from app.links.storage import COUNT_MAX, INDEXES, LINKS, LinkStore, SlugTakenError
from app.links.tags import COUNT_MAX as TAGS_COUNT_MAX
from app.links.tags import TAG_MOVES, TagBusyError, Tags, TagTakenError
from app.links.targets import TargetError, authority_of, normalise_target
from app.links.tombstones import NotKeptError
from app.links.walk import LinkWalk

__all__ = [
    "BRANCH_BYTES_MAX",
    "CHANNEL",
    "COUNT_MAX",
    "INDEXES",
    "LINKS",
    "MIGRATIONS",
    "OBSOLETE",
    "ORDERS",
    "PLAIN_CODE",
    "PLAIN_OPTIONS",
    "RULES_MAX",
    "SLUG_BITS_MIN",
    "TAGS_COUNT_MAX",
    "TAG_MOVES",
    "VARIANTS_MAX",
    "WEIGHT_MAX",
    "Broken",
    "Cached",
    "CachedLink",
    "Catalog",
    "Chance",
    "ChangeFeed",
    "Domain",
    "DomainError",
    "DomainOptions",
    "DomainStore",
    "DomainWatch",
    "Existing",
    "FoldingError",
    "HasherBusyError",
    "Link",
    "LinkCache",
    "LinkState",
    "LinkStore",
    "LinkWalk",
    "Listing",
    "ListingError",
    "NotKeptError",
    "Parameter",
    "PasswordError",
    "PasswordHasher",
    "Place",
    "Robots",
    "Rule",
    "SlugError",
    "SlugTakenError",
    "StoredLink",
    "TagBusyError",
    "TagTakenError",
    "Tags",
    "TargetError",
    "Variant",
    "Wanted",
    "When",
    "WriteNotes",
    "authority_of",
    "check_password",
    "check_slug",
    "decode_message",
    "encode_message",
    "is_alphabet",
    "join_key",
    "normalise_domain",
    "normalise_target",
    "short_url",
    "slug_length_min",
    "split_key",
]
