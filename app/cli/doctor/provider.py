"""Looks at the identity provider that people sign in by, if there is one.

In: settings. Out: a finding. Nobody is signed in. May import: settings, accounts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from app.accounts import ProviderError, provider_of
from app.cli.doctor.findings import Finding, fail, ok, warn
from app.settings import Settings

__all__ = ["about_provider"]

MEANS = "Nobody can sign in by it; passwords and keys work."


def about_provider(settings: Settings) -> Iterator[Finding]:
    """Whether it answers as the issuer that is set, and the client's secret can be read."""
    yield asyncio.run(_ask(settings))


async def _ask(settings: Settings) -> Finding:
    provider = provider_of(settings)
    if provider is None:
        if settings.oidc_issuer is None and settings.oidc_client_id is None:
            return ok("oidc", "none is set: people sign in by password")
        found = "only one of BOLTLINK_OIDC_ISSUER and BOLTLINK_OIDC_CLIENT_ID is set"
        return warn("oidc", found, MEANS, "Set both, or neither.")
    try:
        provider.client.read_secret()
        await provider.metadata()
    except OSError as error:
        do = "Let the user of BoltLink, and nobody else, read the file."
        return fail("oidc", f"BOLTLINK_OIDC_CLIENT_SECRET_FILE: {error}", MEANS, do)
    except ProviderError as error:
        do = "Compare BOLTLINK_OIDC_ISSUER with what the provider calls itself; this machine must reach it over TLS."
        return fail("oidc", error.reason, MEANS, do)
    return ok("oidc", f"{provider.client.issuer} answers; register {provider.client.redirect_uri} there")
