"""Who may call the API, and who changed what."""

from app.accounts.audit import AUDIT, AUDIT_INDEXES, SYSTEM, WHATS, AuditLog, AuditSearch, Author, Note, time_of
from app.accounts.keys import KEY_INDEXES, KEYS, ApiKey, KeyRing, hash_key, make_key

#: Collection -> its indexes.
INDEXES = {KEYS: KEY_INDEXES, AUDIT: AUDIT_INDEXES}

__all__ = [
    "AUDIT",
    "INDEXES",
    "KEYS",
    "SYSTEM",
    "WHATS",
    "ApiKey",
    "AuditLog",
    "AuditSearch",
    "Author",
    "KeyRing",
    "Note",
    "hash_key",
    "make_key",
    "time_of",
]
