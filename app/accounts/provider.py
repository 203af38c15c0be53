"""The identity provider: any that describes itself (OpenID Connect Discovery 1.0); authorization code with PKCE.

In: the settings of a client, a code. Out: where a browser is sent to, and who has signed in there.

    ISSUER/.well-known/openid-configuration: where everything is; read again after METADATA_LIFE_S
    jwks_uri             its keys; read again after KEYS_LIFE_S, and at once for one that is new
    token_endpoint       code -> ID token, with the client's secret, if it has one, and the verifier
    userinfo_endpoint    the e-mail, of providers that leave it out of the token

Who is believed: the issuer that the operator names, by its certificate, and whatever host its description names for the
other addresses; all of them https (`app.outbound`). No token and no secret is kept, or stands in an error or a log.
May import: idtoken, outbound.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec

from app.accounts.idtoken import Claims, KeySet, TokenError, UnknownKeyError, read_id_token
from app.outbound import Fetched, Fetcher, FetchError

__all__ = ["Client", "Identity", "Provider", "ProviderError", "challenge_of"]

T = TypeVar("T")
WELL_KNOWN = "/.well-known/openid-configuration"
METADATA_LIFE_S = 3600.0
KEYS_LIFE_S = 600.0  # how long a key that the provider has withdrawn is believed
REASON_CHARACTERS_MAX = 300
FAILED_S = 3.0  # who comes so soon after a failure is told of it, and does not wait for the next one
SCOPE = "openid email"
OK = 200
FORM_REFUSED = (400, 403)  # RFC 6749, 5.2: a code that is wrong, old, used, or another client's


class ProviderError(Exception):
    """The provider does not answer, or not as it must; `reason` is for the log."""

    def __init__(self, reason: str) -> None:
        self.reason = reason[:REASON_CHARACTERS_MAX]
        super().__init__(self.reason)


class Client(NamedTuple):
    """What the provider knows this instance as.

    Attributes:
        read_secret: gives the client's secret, "" if it has none; may raise OSError.
    """

    issuer: str
    id: str
    read_secret: Callable[[], str]
    redirect_uri: str


class Identity(NamedTuple):
    """Who has signed in at the provider. `email` is theirs only if `is_verified`."""

    subject: str
    email: str
    is_verified: bool
    has_several_factors: bool


class Metadata(msgspec.Struct, frozen=True):
    """What a provider says of itself (Discovery 1.0, 3; RFC 9207, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class _Tokens(msgspec.Struct):
    """The answer to a code (RFC 6749, 5.1)."""

    id_token: str
    access_token: str = ""


class _Refusal(msgspec.Struct):
    error: str = ""


class _Kept(Generic[T]):
    """What was read, for `life_s`. One reads, and all who wait find it read, or hear that it failed."""

    def __init__(self, life_s: float, monotonic: Callable[[], float]) -> None:
        self._life_s = life_s
        self._monotonic = monotonic
        self._reading = asyncio.Lock()
        self._value: T | None = None
        self._until_s = 0.0
        self._failed_until_s = 0.0
        self._reason = ""

    async def get(self, read: Callable[[], Awaitable[T]], *, other_than: T | None = None) -> T:
        """What is kept, or is read now; raises ProviderError."""
        async with self._reading:
            now_s = self._monotonic()
            if self._value is not None and self._value is not other_than and now_s < self._until_s:
                return self._value
            if now_s < self._failed_until_s:
                raise ProviderError(self._reason)
            try:
                self._value = await read()
            except ProviderError as error:
                self._reason, self._failed_until_s = error.reason, self._monotonic() + FAILED_S
                raise
            self._until_s = self._monotonic() + self._life_s
            return self._value


class Provider:
    """One provider, for one process. `monotonic` and `now_s` are clocks in seconds."""

    def __init__(
        self, client: Client, fetcher: Fetcher, *, monotonic: Callable[[], float], now_s: Callable[[], float]
    ) -> None:
        self.client = client
        self._fetcher = fetcher
        self._now_s = now_s
        self._metadata: _Kept[Metadata] = _Kept(METADATA_LIFE_S, monotonic)
        self._keys: _Kept[KeySet] = _Kept(KEYS_LIFE_S, monotonic)

    async def metadata(self) -> Metadata:
        """What the provider says of itself; raises ProviderError."""
        return await self._metadata.get(self._describe)

    async def _describe(self) -> Metadata:
        found = await self._get(self.client.issuer.rstrip("/") + WELL_KNOWN, Metadata)
        self._check(found)
        return found

    async def sign_in_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent to; raises ProviderError."""
        endpoint = (await self.metadata()).authorization_endpoint
        query = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": self.client.redirect_uri,
            "scope": SCOPE,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def identify(self, code: str, *, verifier: str, nonce: str, issuer: str | None) -> Identity:
        """Who has signed in.

        Args:
            issuer: who says that it sent the browser back (RFC 9207); None: it does not say.

        Raises:
            TokenError: nobody; the code or what it was given for is not to be believed.
            ProviderError: the provider does not answer, or not as it must.
        """
        about = await self.metadata()
        is_told = issuer is not None or about.authorization_response_iss_parameter_supported
        if is_told and issuer != self.client.issuer:
            raise TokenError("another issuer sent the browser")
        tokens = await self._exchange(about, code, verifier)
        claims = await self._read(about, tokens.id_token, nonce)
        told = claims if claims.email else await self._ask_about(about, tokens.access_token, claims)
        return Identity(claims.sub, told.email or "", told.is_verified, claims.has_several_factors)

    async def _read(self, about: Metadata, token: str, nonce: str) -> Claims:
        """What the token says; keys are read again, once, for one that is signed with a new key."""

        async def read() -> KeySet:
            return await self._get(about.jwks_uri, KeySet)

        keys = await self._keys.get(read)
        try:
            return self._judge(token, keys, nonce)
        except UnknownKeyError:
            return self._judge(token, await self._keys.get(read, other_than=keys), nonce)

    def _judge(self, token: str, keys: KeySet, nonce: str) -> Claims:
        client = self.client
        return read_id_token(token, keys, issuer=client.issuer, client_id=client.id, nonce=nonce, now_s=self._now_s())

    async def _exchange(self, about: Metadata, code: str, verifier: str) -> _Tokens:
        client = self.client
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "code_verifier": verifier,
        }
        headers = {}
        secret = self._secret()
        if not secret:
            form["client_id"] = client.id
        elif "client_secret_basic" in about.token_endpoint_auth_methods_supported:
            pair = f"{quote_plus(client.id)}:{quote_plus(secret)}"  # encoded first: RFC 6749, 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": client.id, "client_secret": secret}
        answer = await self._fetch(about.token_endpoint, form=form, headers=headers)
        if answer.status in FORM_REFUSED and self._says(answer.body, _Refusal).error == "invalid_grant":
            raise TokenError("the provider does not know the code, or no more")
        if answer.status != OK:
            raise ProviderError(f"{about.token_endpoint} answered {answer.status} to a code")
        return self._says(answer.body, _Tokens)

    def _secret(self) -> str:
        try:
            return self.client.read_secret()
        except (OSError, UnicodeDecodeError) as error:
            raise ProviderError(f"the client's secret cannot be read: {type(error).__name__}") from error

    async def _ask_about(self, about: Metadata, access_token: str, claims: Claims) -> Claims:
        """What the provider says of whom the token names; nothing, where it cannot be asked."""
        if about.userinfo_endpoint is None or not access_token:
            return claims
        headers = {"Authorization": f"Bearer {access_token}"}
        told = await self._get(about.userinfo_endpoint, Claims, headers)
        if told.sub != claims.sub:  # Core 1.0, 5.3.2
            raise TokenError("the provider tells of somebody else")
        return told

    async def _get(self, url: str, kind: type[T], headers: Mapping[str, str] | None = None) -> T:
        answer = await self._fetch(url, headers=headers)
        if answer.status != OK:
            raise ProviderError(f"{url} answered {answer.status}")
        return self._says(answer.body, kind)

    async def _fetch(
        self, url: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Fetched:
        try:
            return await self._fetcher.fetch(url, form=form, headers=headers)
        except FetchError as error:
            raise ProviderError(str(error)) from error

    def _says(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderError(f"the provider's answer is no {kind.__name__.strip('_')}") from error

    def _check(self, about: Metadata) -> None:
        """Raises ProviderError for a description of another provider, or with an address that is not safe."""
        if about.issuer != self.client.issuer:  # Discovery 1.0, 4.3
            raise ProviderError(f"the provider calls itself {about.issuer!r}, not {self.client.issuer!r}")
        urls = (about.authorization_endpoint, about.token_endpoint, about.jwks_uri, about.userinfo_endpoint)
        for url in filter(None, urls):
            try:
                self._fetcher.check(url)
            except FetchError as error:
                raise ProviderError(str(error)) from error


def challenge_of(verifier: str) -> str:
    """The code challenge of a verifier (RFC 7636, 4.2), and the nonce of a browser's secret."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
