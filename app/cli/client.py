"""How commands call the API: of this node, or of the instance that BOLTLINK_URL and BOLTLINK_API_KEY name."""

from __future__ import annotations

import os
from typing import Any

import httpx

from app.cli.errors import CliError
from app.settings import Settings

__all__ = ["Client"]

LIMIT_S = 30.0


class Client:
    """Calls with the caller's key. Raises CliError for whatever is no success."""

    def __init__(self) -> None:
        settings = Settings.from_environ(os.environ)
        local = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
        local = local.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        self.url = settings.url or local
        self._key = settings.api_key or settings.admin_key or self._kept_key(settings)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The decoded answer; None for an empty one."""
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            answer = httpx.request(method, self.url + path, headers=headers, timeout=LIMIT_S, **options)
        except httpx.HTTPError as error:
            raise CliError(f"{self.url} does not answer ({error}); is it up? (boltlink up)") from error
        if answer.is_success:
            return answer.json() if answer.content else None
        raise CliError(_reason(answer))

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
    fields = "; ".join(f"{error['field']} {error['message']}" for error in problem.get("errors", []))
    return fields or problem.get("detail") or f"{answer.url} answered {answer.status_code}"
