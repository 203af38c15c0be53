"""What a bucket is: folding, merging, storing exactly once, moving into days and months, queries."""

from app.analytics.bucket import NO_LINK_ID, Bucket, BucketKey, Delta, bucket_id, day_number
from app.analytics.fold import BUCKETS_MAX, Batch, fold
from app.analytics.ledger import CLICKS_NODE, INDEXES, Ledger
from app.analytics.moves import MOVED_MAX, Moved, Mover
from app.analytics.periods import link_prefix
from app.analytics.progress import read_as_of
from app.analytics.query import UNITS, LinkStats, Range, RangeError, link_stats
from app.analytics.retention import Retention
from app.analytics.totals import Totals
from app.analytics.transactions import LostRaceError, Trace
from app.analytics.visitors import estimate_visitors, load_sketches, unite_visitors

__all__ = [
    "BUCKETS_MAX",
    "CLICKS_NODE",
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
    "link_prefix",
    "link_stats",
    "load_sketches",
    "read_as_of",
    "unite_visitors",
]
