"""An identity provider of the tests, on a free port, that people sign in at as OpenID Connect says.

It keeps its side of the protocol: a code is for one client, one redirect URI, one verifier, and for one time. What a
test wants wrong it says by `claims` (in place of those that are right), by `forge` (the token itself), or by `answers`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import unquote_plus, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

__all__ = ["CLIENT", "SECRET", "Issuer", "run_issuer"]

CLIENT = "bolt+link&client"  # what must be encoded before Basic is made of it
SECRET = "s:e&c+r%t"
Json = dict[str, Any]


@cache
def _rsa_key(number: int) -> rsa.RSAPrivateKey:
    """The n-th key of any provider; to make one takes a fifth of a second."""
    return rsa.generate_private_key(65537, 2048)


class Issuer:
    """The provider. `email` is who signs in at it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.email = "ada@example.com"
        self.claims: Json = {}
        self.forge: Callable[[Json], str] | None = None
        self.answers: dict[str, Callable[[web.RequestHandler], None]] = {}
        self.metadata: Json = {}
        self.secret = SECRET
        self.in_userinfo = False
        self.in_token: Json = {}
        self.asked: list[str] = []
        self.codes: dict[str, Json] = {}
        self.kid = ""
        self._made = 0
        self.key: Any = None
        self.keys: list[Json] = []
        self.make_key()

    def make_key(self, kind: str = "RSA", **about: str) -> None:
        """Signs with a new key from now on; the old ones are gone from its JWKS."""
        self.kid = secrets.token_hex(4)
        if kind == "RSA":
            self.key = _rsa_key(self._made)
            self._made += 1
            public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        else:
            self.key = ec.generate_private_key(ec.SECP256R1())
            public = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        self.keys = [{**public, "kid": self.kid, "use": "sig", **about}]

    def sign(self, claims: Json, **header: Any) -> str:
        """A token."""
        alg = "RS256" if isinstance(self.key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(claims, self.key, algorithm=alg, headers={"kid": self.kid, **header})

    def id_token(self, request: Json) -> str:
        """What a code is worth."""
        about = {} if self.in_userinfo else {"email": self.email, "email_verified": True}
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "248289761001",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": request["nonce"],
            **about,
            **self.claims,
            **self.in_token,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return self.forge(claims) if self.forge is not None else self.sign(claims)


class _Base(web.RequestHandler):
    def initialize(self, issuer: Issuer) -> None:
        self.issuer = issuer

    def prepare(self) -> None:
        self.issuer.asked.append(self.request.path)
        answer = self.issuer.answers.get(self.request.path)
        if answer is not None:
            answer(self)

    def refuse(self, error: str, status: int = 400) -> None:
        self.set_status(status)
        self.finish({"error": error})


class _Discovery(_Base):
    def get(self) -> None:
        url = self.issuer.url
        self.finish(
            {
                "issuer": url,
                "authorization_endpoint": f"{url}/authorize?tenant=1",
                "token_endpoint": f"{url}/token",
                "jwks_uri": f"{url}/keys",
                "userinfo_endpoint": f"{url}/userinfo",
                "response_types_supported": ["code"],
                **self.issuer.metadata,
            }
        )


class _Authorize(_Base):
    def get(self) -> None:
        request = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        assert request["response_type"] == "code"
        assert request["client_id"] == CLIENT
        assert set(request["scope"].split()) >= {"openid", "email"}
        assert request["code_challenge_method"] == "S256"
        assert request["tenant"] == "1"
        code = secrets.token_urlsafe(16)
        self.issuer.codes[code] = request
        self.redirect(f"{request['redirect_uri']}?{urlencode({'code': code, 'state': request['state']})}")


class _Token(_Base):
    def post(self) -> None:
        form = {name: self.get_body_argument(name) for name in self.request.body_arguments}
        scheme, _, pair = self.request.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            words = [unquote_plus(word) for word in base64.b64decode(pair).decode().split(":")]
        else:
            words = [form["client_id"], form.get("client_secret", "")]
        if words != [CLIENT, self.issuer.secret]:
            self.refuse("invalid_client", 401)
            return
        request = self.issuer.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        is_right = request is not None and request["code_challenge"] == challenge
        if request is None or not is_right or request["redirect_uri"] != form["redirect_uri"]:
            self.refuse("invalid_grant")
            return
        self.finish({"access_token": "opaque", "token_type": "Bearer", "id_token": self.issuer.id_token(request)})


class _Keys(_Base):
    def get(self) -> None:
        self.finish({"keys": self.issuer.keys})


class _UserInfo(_Base):
    def get(self) -> None:
        assert self.request.headers["Authorization"] == "Bearer opaque"
        self.finish({"sub": "248289761001", "email": self.issuer.email, "email_verified": True, **self.issuer.claims})


ROUTES = {
    "/.well-known/openid-configuration": _Discovery,
    "/authorize": _Authorize,
    "/token": _Token,
    "/keys": _Keys,
    "/userinfo": _UserInfo,
}


@asynccontextmanager
async def run_issuer() -> AsyncIterator[Issuer]:
    """A provider that runs."""
    sockets = bind_sockets(0, "127.0.0.1")
    issuer = Issuer(f"http://127.0.0.1:{sockets[0].getsockname()[1]}")
    routes = [(path, handler, {"issuer": issuer}) for path, handler in ROUTES.items()]
    server = HTTPServer(web.Application(routes, log_function=lambda handler: None))
    server.add_sockets(sockets)
    try:
        yield issuer
    finally:
        server.stop()
        await server.close_all_connections()
        await asyncio.sleep(0)
