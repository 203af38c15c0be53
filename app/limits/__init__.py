"""How often somebody may do something: token buckets in Redis, in memory while Redis is away."""

from app.limits.buckets import Bucket, Buckets, Grant, Limiter, Rate
from app.limits.quota import Quota
from app.limits.scans import Scans

__all__ = ["Bucket", "Buckets", "Grant", "Limiter", "Quota", "Rate", "Scans"]
