"""How often somebody may do something: token buckets in Redis, in memory while Redis is away."""

from app.limits.buckets import Bucket, Buckets, Limiter, Rate

__all__ = ["Bucket", "Buckets", "Limiter", "Rate"]
