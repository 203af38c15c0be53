"""API keys: who may call the API."""

from app.accounts.keys import INDEXES, KEYS, ApiKey, KeyRing, hash_key, make_key

__all__ = ["INDEXES", "KEYS", "ApiKey", "KeyRing", "hash_key", "make_key"]
