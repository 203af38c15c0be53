"""Reads the variables, once, when a program starts.

In: a mapping of environment variables, and the file of further ones that it may name; the mapping wins. Out: one frozen
`Settings`, or a `SettingsError`; and for who only looks at what runs, whatever of it can be read.
May import: parse, variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from app.settings import parse
from app.settings.variables import Api, Backups, Clicks, Jobs, Running, Serving, SignIn, Stores, Traces

__all__ = ["Settings", "SettingsError"]


FILE = "BOLTLINK_SETTINGS_FILE"
FOLDER = "BOLTLINK_STATE_DIR"


class SettingsError(ValueError):
    """A variable that cannot be used: `variable`, the `value` as given and what is `allowed`."""

    def __init__(self, variable: str, value: str, allowed: str) -> None:
        super().__init__(f"{variable}: {value!r} is not {allowed}")
        self.variable = variable
        self.value = value
        self.allowed = allowed


@dataclass(frozen=True, kw_only=True)
class Settings(Traces, Running, Jobs, Backups, SignIn, Api, Clicks, Stores, Serving):
    """What one program was told. Paths are absolute, sizes in bytes, durations in seconds."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Reads every variable; an empty one counts as unset. Raises SettingsError at a wrong one."""
        settings, wrong = cls._read_all(environ)
        if wrong:
            raise wrong[0]
        return settings

    @classmethod
    def salvage(cls, environ: Mapping[str, str]) -> tuple[Settings, list[SettingsError]]:
        """For a command that needs the state folder alone: a wrong variable counts as unset, and is told beside.

        Raises SettingsError where it is not known which folder that is: another one's tree might be ended.
        """
        settings, wrong = cls._read_all(environ)
        for error in wrong:
            is_folder = FOLDER in (error.variable, error.value)
            may_hold_it = error.variable == FILE and not environ.get(FOLDER)
            if may_hold_it or (is_folder and (error.variable == FOLDER or not environ.get(FOLDER))):
                raise error
        return settings, wrong

    @classmethod
    def _read_all(cls, environ: Mapping[str, str]) -> tuple[Settings, list[SettingsError]]:
        rows = {row.metadata["variable"]: row for row in fields(cls)}
        wrong: list[SettingsError] = []
        file = _read(rows[FILE], environ, wrong)
        given = _read_file(file, rows, wrong) if file is not None else {}
        given |= {variable: text for variable, text in environ.items() if text}
        values = {
            row.name: file if row.metadata["variable"] == FILE else _read(row, given, wrong) for row in rows.values()
        }
        return cls(**values), wrong

    @classmethod
    def table(cls) -> list[dict[str, Any]]:
        """One row per variable: field, variable, default (as text, None: unset), meaning, secret."""
        return [
            {
                "field": row.name,
                **{key: row.metadata[key] for key in ("variable", "default", "meaning", "secret")},
            }
            for row in fields(cls)
        ]

    @property
    def traces_url(self) -> str | None:
        """Where spans are posted to; None: nowhere."""
        if self.otlp_traces_endpoint is not None or self.otlp_endpoint is None:
            return self.otlp_traces_endpoint
        return self.otlp_endpoint.rstrip("/") + "/v1/traces"

    @property
    def public_url(self) -> str:
        """What short links start with: no trailing slash."""
        if self.base_url is not None:
            return self.base_url
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def _read(row: Field[Any], environ: Mapping[str, str], wrong: list[SettingsError]) -> Any:
    """The value of a variable; its default where it is in `wrong` from now on."""
    variable = row.metadata["variable"]
    text = environ.get(variable) or row.metadata["default"]
    if not text:
        return () if row.metadata["default"] == "" else None
    try:
        return row.metadata["parse"](text)
    except ValueError as error:
        shown = "(hidden)" if row.metadata["secret"] else text
        wrong.append(SettingsError(variable, shown, str(error)))
        return _read(row, {}, wrong)


def _read_file(path: Path, rows: Mapping[str, Field[Any]], wrong: list[SettingsError]) -> dict[str, str]:
    """NAME=value lines, with # comments and quotes as systemd's EnvironmentFile has them; paths are made absolute."""
    try:
        text = path.read_text("utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        wrong.append(SettingsError(FILE, str(path), f"a file that can be read ({reason})"))
        return {}
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        variable, is_set, value = (word.strip() for word in line.partition("="))
        if not variable or variable.startswith("#"):
            continue
        row = rows.get(variable)
        if row is None or not is_set or variable == FILE:
            name = re.match("[A-Z0-9_]*", variable)[0]  # type: ignore[index]  # what follows it may be a password
            wrong.append(SettingsError(f"{path}, line {number}", name, "a setting and its value, NAME=value"))
            continue
        if row.metadata["secret"] and mode & 0o007:
            wrong.append(SettingsError(variable, "(hidden)", f"safe in {path}, which everyone may read: chmod o= it"))
            continue
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        is_path = row.metadata["parse"] is parse.path and value
        found[variable] = str(path.parent / Path(value).expanduser()) if is_path else value
    return found
