"""HTTP to elsewhere: the only room that asks other machines for anything by it."""

from app.outbound.fetch import Fetched, Fetcher, FetchError

__all__ = ["FetchError", "Fetched", "Fetcher"]
