"""What a bucket is: folding, merging, storing exactly once, queries."""

from app.analytics.bucket import NO_LINK_ID, Bucket, BucketKey, Delta, bucket_id
from app.analytics.fold import BUCKETS_MAX, Batch, fold
from app.analytics.ledger import INDEXES, Ledger, LostRaceError
from app.analytics.query import UNITS, LinkStats, Range, RangeError, link_stats
from app.analytics.visitors import estimate_visitors, load_sketches, unite_visitors

__all__ = [
    "BUCKETS_MAX",
    "INDEXES",
    "NO_LINK_ID",
    "UNITS",
    "Batch",
    "Bucket",
    "BucketKey",
    "Delta",
    "Ledger",
    "LinkStats",
    "LostRaceError",
    "Range",
    "RangeError",
    "bucket_id",
    "estimate_visitors",
    "fold",
    "link_stats",
    "load_sketches",
    "unite_visitors",
]
