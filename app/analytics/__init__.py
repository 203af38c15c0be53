"""What a bucket is: folding, merging, storing exactly once, queries."""

from app.analytics.bucket import Bucket, BucketKey, Delta, bucket_id
from app.analytics.fold import BUCKETS_MAX, Batch, fold
from app.analytics.ledger import INDEXES, Ledger, LostRaceError
from app.analytics.query import UNITS, LinkStats, Range, RangeError, link_stats

__all__ = [
    "BUCKETS_MAX",
    "INDEXES",
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
    "fold",
    "link_stats",
]
