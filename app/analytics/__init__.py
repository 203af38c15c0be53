"""What a bucket is: folding, merging, storing exactly once, moving into days and months, queries."""

from app.analytics.access import AccessLog
from app.analytics.answers import BREAKDOWNS, Share, Stats
from app.analytics.bucket import NO_LINK_ID, Bucket, BucketKey, Delta, bucket_id, day_number
from app.analytics.erasure import erase
from app.analytics.fold import BUCKETS_MAX, Batch, Folding
from app.analytics.hot import HotLinks, read_hot
from app.analytics.intake import Gathered, Intake
from app.analytics.ledger import CLICKS_NODE, INDEXES, SET_ASIDE, Checkpoint, Ledger, Prepared, TooLargeError
from app.analytics.moves import MOVED_MAX, Moved, Mover
from app.analytics.progress import read_as_of
from app.analytics.query import BehindError, read_stats
from app.analytics.ranges import UNITS, Range, RangeError
from app.analytics.retention import Retention
from app.analytics.salts import SALTS, Salts
from app.analytics.scopes import ALL, CLICKS_SUM, scope_id
from app.analytics.storing import Move
from app.analytics.totals import Totals
from app.analytics.visitors import estimate_visitors, load_sketches, unite_visitors

__all__ = [
    "ALL",
    "BREAKDOWNS",
    "BUCKETS_MAX",
    "CLICKS_NODE",
    "CLICKS_SUM",
    "INDEXES",
    "MOVED_MAX",
    "NO_LINK_ID",
    "SALTS",
    "SET_ASIDE",
    "UNITS",
    "AccessLog",
    "Batch",
    "BehindError",
    "Bucket",
    "BucketKey",
    "Checkpoint",
    "Delta",
    "Folding",
    "Gathered",
    "HotLinks",
    "Intake",
    "Ledger",
    "Move",
    "Moved",
    "Mover",
    "Prepared",
    "Range",
    "RangeError",
    "Retention",
    "Salts",
    "Share",
    "Stats",
    "TooLargeError",
    "Totals",
    "bucket_id",
    "day_number",
    "erase",
    "estimate_visitors",
    "load_sketches",
    "read_as_of",
    "read_hot",
    "read_stats",
    "scope_id",
    "unite_visitors",
]
