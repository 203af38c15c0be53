"""What a bucket is: folding, merging, storing exactly once, moving into days and months, queries."""

from app.analytics.bucket import NO_LINK_ID, Bucket, BucketKey, Delta, bucket_id, day_number
from app.analytics.fold import BUCKETS_MAX, Batch, fold
from app.analytics.ledger import CLICKS_NODE, INDEXES, Ledger
from app.analytics.moves import MOVED_MAX, Moved, Mover
from app.analytics.progress import read_as_of
from app.analytics.query import UNITS, LinkStats, Range, RangeError, link_stats
from app.analytics.retention import Retention
from app.analytics.scopes import ALL, CLICKS_SUM, scope_id
from app.analytics.totals import Totals
from app.analytics.transactions import LostRaceError, Trace
from app.analytics.visitors import estimate_visitors, load_sketches, unite_visitors

__all__ = [
    "ALL",
    "BUCKETS_MAX",
    "CLICKS_NODE",
    "CLICKS_SUM",
    "INDEXES",
    "MOVED_MAX",
    "NO_LINK_ID",
    "UNITS",
    "Batch",
    "Bucket",
    "BucketKey",
    "Delta",
    "Ledger",
    "LinkStats",
    "LostRaceError",
    "Moved",
    "Mover",
    "Range",
    "RangeError",
    "Retention",
    "Totals",
    "Trace",
    "bucket_id",
    "day_number",
    "estimate_visitors",
    "fold",
    "link_stats",
    "load_sketches",
    "read_as_of",
    "scope_id",
    "unite_visitors",
]
