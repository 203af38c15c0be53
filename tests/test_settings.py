"""The table of settings: what is read, and the one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import RESERVED_SEGMENTS, Settings, SettingsError, parse_size


def test_defaults_are_those_of_the_design() -> None:
    settings = Settings.from_environ({})
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.metrics_host, settings.metrics_port) == ("127.0.0.1", 8001)
    assert settings.state_dir == Path.cwd() / "var"
    assert settings.stale_max == 6 * 3600
    assert settings.memory_limit == 500_000_000
    assert settings.redis_url is None
    assert settings.public_url == "http://127.0.0.1:8000"


def test_empty_value_counts_as_unset() -> None:
    assert Settings.from_environ({"BOLTLINK_PORT": "", "BOLTLINK_REDIS_URL": ""}) == Settings.from_environ({})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BOLTLINK_PORT", "abc"),
        ("BOLTLINK_PORT", "0"),
        ("BOLTLINK_PORT", "65536"),
        ("BOLTLINK_PORT", "-1"),
        ("BOLTLINK_HOST", "localhost"),
        ("BOLTLINK_BASE_URL", "sho.rt"),
        ("BOLTLINK_BASE_URL", "https://sho.rt/path"),
        ("BOLTLINK_BASE_URL", "ftp://sho.rt"),
        ("BOLTLINK_WEB_PROCESSES", "0"),
        ("BOLTLINK_TRUSTED_PROXIES", "10.0.0.0/33"),
        ("BOLTLINK_EXCLUDED_NETWORKS", "office"),
        ("BOLTLINK_COUNTRY_HEADER", "CF IPCountry"),
        ("BOLTLINK_STALE_MAX", "6 weeks"),
        ("BOLTLINK_MEMORY_LIMIT", "much"),
        ("BOLTLINK_LOG_LEVEL", "loud"),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({variable: value})
    assert caught.value.variable == variable
    assert caught.value.value == value
    assert str(caught.value) == f"{variable}: {value!r} is not {caught.value.allowed}"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("variable", ["BOLTLINK_ADMIN_KEY", "BOLTLINK_REDIS_URL", "BOLTLINK_MONGODB_URL"])
def test_wrong_secret_is_not_shown(variable: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({variable: "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("text", "size"), [("500MB", 500_000_000), ("64 GiB", 64 * 1024**3), ("7", 7)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_paths_are_absolute_and_public_url_follows_the_host() -> None:
    settings = Settings.from_environ({"BOLTLINK_STATE_DIR": "x", "BOLTLINK_HOST": "::", "BOLTLINK_PORT": "81"})
    assert settings.state_dir == Path.cwd() / "x"
    assert settings.public_url == "http://[::1]:81"
    assert Settings.from_environ({"BOLTLINK_BASE_URL": "https://Sho.RT/"}).public_url == "https://sho.rt"


def test_every_row_says_what_it_means() -> None:
    for row in Settings.table():
        assert row["variable"].startswith("BOLTLINK_")
        assert row["meaning"]


def test_reserved_words_are_in_lower_case() -> None:
    assert all(word == word.lower() for word in RESERVED_SEGMENTS)
