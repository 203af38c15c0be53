"""What a bucket is: folding, merging, storing exactly once, moving into days and months, queries."""

from app.analytics.access import AccessLog
from app.analytics.answers import Stats
from app.analytics.bucket import NO_LINK_ID, Bucket, BucketKey, Delta, day_number
from app.analytics.erasure import erase
from app.analytics.fold import BUCKETS_MAX, Batch, Folding
from app.analytics.hot import HotLinks, read_hot
from app.analytics.intake import Gathered, Intake
from app.analytics.ledger import CLICKS_NODE, INDEXES, SET_ASIDE, Ledger, Prepared, TooLargeError
from app.analytics.moves import MOVED_MAX, Mover
from app.analytics.progress import read_as_of
from app.analytics.query import BehindError, read_stats
from app.analytics.ranges import Range, RangeError
from app.analytics.retention import Retention
from app.analytics.salts import Salts
from app.analytics.scopes import ALL, CLICKS_SUM, scope_id
from app.analytics.totals import Totals
from app.analytics.visitors import estimate_visitors

__all__ = [
    "ALL",
    "BUCKETS_MAX",
    "CLICKS_NODE",
    "CLICKS_SUM",
    "INDEXES",
    "MOVED_MAX",
    "NO_LINK_ID",
    "SET_ASIDE",
    "AccessLog",
    "Batch",
    "BehindError",
    "Bucket",
    "BucketKey",
    "Delta",
    "Folding",
    "Gathered",
    "HotLinks",
    "Intake",
    "Ledger",
    "Mover",
    "Prepared",
    "Range",
    "RangeError",
    "Retention",
    "Salts",
    "Stats",
    "TooLargeError",
    "Totals",
    "day_number",
    "erase",
    "estimate_visitors",
    "read_as_of",
    "read_hot",
    "read_stats",
    "scope_id",
]
