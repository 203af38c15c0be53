"""How commands call the API: of this node, or of the instance that BOLTLINK_URL and BOLTLINK_API_KEY name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click
import httpx

from app.cli.errors import AwayError, CliError, RefusedError
from app.settings import Settings

__all__ = ["Client", "path_of"]

LIMIT_S = 30.0
SILENT_S = 40.0  # a stream beats every 15 s


def path_of(collection: str, name: str) -> str:
    """The path of one thing, whatever characters a person typed."""
    return f"/api/v1/{collection}/{quote(name, safe='')}"


class Client:
    """Calls with the caller's key. Raises CliError for whatever is no success."""

    def __init__(self) -> None:
        settings = Settings.from_environ(os.environ)
        local = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
        local = local.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        self.url = settings.url or local
        self._is_local = settings.url is None
        if settings.api_key is None and not self._is_local:
            # This node's admin key is nothing that another machine should see.
            raise CliError(f"BOLTLINK_API_KEY: must be set to call {self.url}")
        self._key = settings.api_key or settings.admin_key or self._kept_key(settings)
        # One for all calls: making one costs 20 ms. A proxy of the environment cannot reach this node's own address.
        self._http = httpx.Client(timeout=LIMIT_S, trust_env=not self._is_local)
        if (context := click.get_current_context(silent=True)) is not None:
            context.call_on_close(self._http.close)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The decoded answer; None for an empty one."""
        answer = self._ask(method, path, options)
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise CliError(f"{self.url} answers, and not as BoltLink does: is BOLTLINK_URL right?") from error

    def text(self, path: str, **options: Any) -> str:
        """An answer that is no JSON, as it is."""
        return self._ask("GET", path, options).text

    def follow(self, path: str, **options: Any) -> Iterator[str]:
        """The lines of a streamed answer as they come, until it ends or is silent for SILENT_S."""
        timeout = httpx.Timeout(LIMIT_S, read=SILENT_S)
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            with self._http.stream("GET", self.url + path, headers=headers, timeout=timeout, **options) as answer:
                if not answer.is_success:
                    answer.read()
                    raise RefusedError(_reason(answer), answer.status_code)
                yield from answer.iter_lines()
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def _ask(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._key}", **options.pop("headers", {})}
        try:
            answer = self._http.request(method, self.url + path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        if not answer.is_success:
            raise RefusedError(_reason(answer), answer.status_code)
        return answer

    def _away(self, error: httpx.HTTPError) -> AwayError:
        if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
            return AwayError(f"{self.url} did not answer in time ({type(error).__name__}); see: boltlink logs web_0")
        hint = "is it up? (boltlink up)" if self._is_local else "is it up? BOLTLINK_URL names it"
        return AwayError(f"{self.url} does not answer ({error}); {hint}")

    @staticmethod
    def _kept_key(settings: Settings) -> str:
        path = settings.state_dir / "admin-key"
        try:
            return path.read_text().strip()
        except OSError as error:
            raise CliError(
                f"no API key: set BOLTLINK_API_KEY, or run where {path} can be read ({error.strerror})"
            ) from error


def _reason(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
    except ValueError:
        return f"{answer.url} answered {answer.status_code}"
    if not isinstance(problem, dict):
        return f"{answer.url} answered {answer.status_code}"
    fields = "; ".join(f"{error['field']} {error['message']}" for error in problem.get("errors", []))
    return fields or problem.get("detail") or f"{answer.url} answered {answer.status_code}"
