"""HTTP to elsewhere: the only room that asks other machines for anything by it."""

from app.outbound.fetch import AGENT, EndlessUrlError, Fetched, Fetcher, FetchError, RefusedUrlError, UnaskedError
from app.outbound.guard import Guard, UnknownNameError
from app.outbound.page import Page, PageReader

__all__ = [
    "AGENT",
    "EndlessUrlError",
    "FetchError",
    "Fetched",
    "Fetcher",
    "Guard",
    "Page",
    "PageReader",
    "RefusedUrlError",
    "UnaskedError",
    "UnknownNameError",
]
