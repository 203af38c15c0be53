"""Who may call the API, and who changed what."""

from app.accounts.audit import (
    AUDIT,
    AUDIT_INDEXES,
    SYSTEM,
    WHATS,
    AuditLog,
    AuditSearch,
    Author,
    Note,
    fields_of,
    first_id,
    time_of,
)
from app.accounts.callers import NOBODY, Bounds, Caller, Scope
from app.accounts.factors import SecondFactors
from app.accounts.flows import FLOW_S, Flow
from app.accounts.idtoken import TokenError
from app.accounts.keys import KEY_INDEXES, KEYS, ApiKey, KeyRing, hash_key, make_key
from app.accounts.living import find_callers
from app.accounts.provider import ProviderError
from app.accounts.sessions import Sessions
from app.accounts.signon import CALLBACK, FactorNeededError, NotLetInError, SignOn, make_sign_on, provider_of
from app.accounts.tries import TooManyTriesError, Tries, Try
from app.accounts.users import USER_INDEXES, USERS, EmailTakenError, LastAdminError, Role, User, UserBook, UserError

#: Collection -> its indexes.
INDEXES = {KEYS: KEY_INDEXES, AUDIT: AUDIT_INDEXES, USERS: USER_INDEXES}

__all__ = [
    "AUDIT",
    "CALLBACK",
    "FLOW_S",
    "INDEXES",
    "KEYS",
    "NOBODY",
    "SYSTEM",
    "USERS",
    "WHATS",
    "ApiKey",
    "AuditLog",
    "AuditSearch",
    "Author",
    "Bounds",
    "Caller",
    "EmailTakenError",
    "FactorNeededError",
    "Flow",
    "KeyRing",
    "LastAdminError",
    "NotLetInError",
    "Note",
    "ProviderError",
    "Role",
    "Scope",
    "SecondFactors",
    "Sessions",
    "SignOn",
    "TokenError",
    "TooManyTriesError",
    "Tries",
    "Try",
    "User",
    "UserBook",
    "UserError",
    "fields_of",
    "find_callers",
    "first_id",
    "hash_key",
    "make_key",
    "make_sign_on",
    "provider_of",
    "time_of",
]
