"""Signing in by the identity provider: whether it is set up, and whose account a sign-in there is for.

In: settings; who signed in at the provider. Out: a user, or `NotLetInError`.

    e-mail   must be verified by the provider, and be an account's: in the same case or another one of ASCII letters.
             Look-alikes that Unicode folds into the same e-mail may be somebody else's mailbox
    nobody   is made a user, of BOLTLINK_OIDC_ROLE, only if the e-mail is ASCII and its domain one of
             BOLTLINK_OIDC_CREATE_DOMAINS
    disabled accounts are let in by nothing, and are not made again
    factor   an account with a second factor is let in if the provider says that it has asked for several (`amr`: `mfa`)

May import: audit, flows, provider, users, outbound, settings.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis.asyncio

from app.accounts.audit import SYSTEM, Author
from app.accounts.flows import Flows
from app.accounts.idtoken import load_jwt
from app.accounts.provider import Client, Identity, Provider
from app.accounts.users import Role, User, UserBook, UserError
from app.outbound import Fetcher
from app.settings import Settings

__all__ = ["CALLBACK", "FactorNeededError", "NotLetInError", "SignOn", "make_sign_on", "provider_of"]

CALLBACK = "/api/v1/session/oidc/callback"


class NotLetInError(Exception):
    """Whom the provider knows, and who is nobody here: `user`, if there is one, and `reason` for the audit log."""

    def __init__(self, reason: str, user: User | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.user = user


class FactorNeededError(NotLetInError):
    """They have a second factor here, and the provider has asked for one alone."""


@dataclass(frozen=True)
class SignOn:
    """What signing in by the provider takes; `creates` are domains of e-mails, or `*`."""

    provider: Provider
    flows: Flows
    users: UserBook
    creates: tuple[str, ...]
    role: Role

    async def admit(self, identity: Identity, author: Author = SYSTEM) -> User:
        """Whose account it is; raises NotLetInError, PyMongoError."""
        if not identity.email or not identity.is_verified:
            raise NotLetInError("email not verified")
        user = await self.users.named(identity.email)
        if user is None:
            user = await self._create(identity.email, author)
        if not _is_same(user.email, identity.email):
            raise NotLetInError("email of another spelling", user)
        if user.disabled:
            raise NotLetInError("disabled", user)
        if user.has_factor and not identity.has_several_factors:
            raise FactorNeededError("second factor not asked for", user)
        return user

    async def _create(self, email: str, author: Author) -> User:
        domain = email.rpartition("@")[2].lower()
        if not email.isascii() or ("*" not in self.creates and domain not in self.creates):
            raise NotLetInError("no account")
        try:
            return await self.users.add_without_password(email, self.role, author)
        except UserError as error:
            user = await self.users.named(email)  # made by another sign-in at the same time
            if user is None:
                raise NotLetInError("no e-mail") from error
            return user


def make_sign_on(
    settings: Settings, client: redis.asyncio.Redis, users: UserBook, *, now_s: Callable[[], float] = time.time
) -> SignOn | None:
    """What the settings say; None where people sign in by password alone."""
    provider = provider_of(settings, now_s=now_s)
    if provider is None:
        return None
    flows = Flows(client, token=secrets.token_urlsafe)
    return SignOn(provider, flows, users, settings.oidc_create_domains, Role(settings.oidc_role))


def provider_of(settings: Settings, *, now_s: Callable[[], float] = time.time) -> Provider | None:
    """The provider that the settings name."""
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return None

    def read_secret() -> str:
        if settings.oidc_client_secret is not None:
            return settings.oidc_client_secret
        return "" if settings.oidc_client_secret_file is None else settings.oidc_client_secret_file.read_text().strip()

    load_jwt()
    client = Client(settings.oidc_issuer, settings.oidc_client_id, read_secret, settings.public_url + CALLBACK)
    fetcher = Fetcher(allows_http=settings.oidc_http == "on")
    return Provider(client, fetcher, monotonic=time.monotonic, now_s=now_s)


def _is_same(stored: str, told: str) -> bool:
    """Whether two e-mails that fold into the same are the same mailbox."""
    return stored == told or (stored.isascii() and told.isascii())
