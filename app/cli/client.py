"""How commands call the API: of this node, or of the instance that BOLTLINK_URL and BOLTLINK_API_KEY name.

In: paths and bodies. Out: decoded answers; CliError for whatever is no success. May import: settings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click
import httpx
import msgspec

from app.cli.errors import AwayError, CliError, RefusedError
from app.settings import Settings

__all__ = ["Client", "path_of"]

LIMIT_S = 30.0
SILENT_S = 40.0  # a stream beats every 15 s


def path_of(collection: str, name: str) -> str:
    """The path of one thing, whatever characters a person typed."""
    return f"/api/v1/{collection}/{quote(name, safe='')}"


class _FieldError(msgspec.Struct):
    field: str
    message: str


class _Problem(msgspec.Struct):
    """What is read of a problem document."""

    detail: str = ""
    errors: list[_FieldError] = []


class Client:
    """Calls with the caller's key, or as somebody who signs in. Raises CliError for whatever is no success."""

    def __init__(self, *, is_keyed: bool = True) -> None:
        settings = Settings.from_environ(os.environ)
        local = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
        local = local.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        self.url = settings.url or local
        self._is_local = settings.url is None
        self._who = {"Authorization": f"Bearer {self._key_of(settings)}"} if is_keyed else {}
        # One for all calls, as TLS costs 17 ms to set up. This node's own address has none, and no proxy leads to it.
        self._http = httpx.Client(timeout=LIMIT_S, trust_env=not self._is_local, verify=not self._is_local)
        if (context := click.get_current_context(silent=True)) is not None:
            context.call_on_close(self._http.close)

    def sign_in(self, email: str, password: str) -> None:
        """From now on calls are made in a session of this user; `sign_out` ends it."""
        answer = self._ask("POST", "/api/v1/session", {"json": {"email": email, "password": password}})
        # By hand: behind TLS the cookie is for https alone, and this node's own address may be asked without.
        self._http.cookies.clear()
        cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
        self._who = {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}

    def sign_out(self) -> None:
        """Ends the session."""
        self.call("DELETE", "/api/v1/session")
        self._who = {}

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The decoded answer; None for an empty one."""
        answer = self._ask(method, path, options)
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise CliError(f"{self.url} answers, and not as BoltLink does: is BOLTLINK_URL right?") from error

    def pages(self, path: str, limit: int, **wanted: str) -> Iterator[dict[str, Any]]:
        """The items of a list, page by page of at most `limit`, as they are asked for."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.call("GET", path, params={**wanted, "limit": limit, "cursor": cursor})
            yield from page["items"]
            cursor = page["next_cursor"]

    def text(self, path: str, **options: Any) -> str:
        """An answer that is no JSON, as it is."""
        return self._ask("GET", path, options).text

    def follow(self, path: str, **options: Any) -> Iterator[str]:
        """The lines of a streamed answer as they come, until it ends or is silent for SILENT_S."""
        timeout = httpx.Timeout(LIMIT_S, read=SILENT_S)
        try:
            with self._http.stream("GET", self.url + path, headers=self._who, timeout=timeout, **options) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refusal(answer)
                yield from answer.iter_lines()
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def _ask(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        headers = {**self._who, **options.pop("headers", {})}
        try:
            answer = self._http.request(method, self.url + path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        if not answer.is_success:
            raise _refusal(answer)
        return answer

    def _away(self, error: httpx.HTTPError) -> AwayError:
        if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
            return AwayError(f"{self.url} did not answer in time ({type(error).__name__}); see: boltlink logs web_0")
        hint = "is it up? (boltlink up)" if self._is_local else "is it up? BOLTLINK_URL names it"
        return AwayError(f"{self.url} does not answer ({error}); {hint}")

    def _key_of(self, settings: Settings) -> str:
        if settings.api_key is None and not self._is_local:
            # This node's admin key is nothing that another machine should see.
            raise CliError(f"BOLTLINK_API_KEY: must be set to call {self.url}")
        return settings.api_key or settings.admin_key or self._kept_key(settings)

    @staticmethod
    def _kept_key(settings: Settings) -> str:
        path = settings.state_dir / "admin-key"
        try:
            return path.read_text().strip()
        except FileNotFoundError as error:
            raise CliError(f"no API key: boltlink up makes {path}, or set BOLTLINK_API_KEY") from error
        except OSError as error:
            raise CliError(
                f"no API key: set BOLTLINK_API_KEY, or run where {path} can be read ({error.strerror})"
            ) from error


def _refusal(answer: httpx.Response) -> RefusedError:
    """What an answer that is no success says; something else than BoltLink may say anything."""
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = _Problem()
    wrong = "; ".join(f"{error.field} {error.message}".strip() for error in problem.errors)
    reason = wrong or problem.detail or f"{answer.url} answered {answer.status_code}"
    return RefusedError(reason, answer.status_code, {error.field for error in problem.errors})
