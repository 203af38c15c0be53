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
        ("BOLTLINK_BACKUP_EVERY", "daily"),
        ("BOLTLINK_BACKUP_EVERY", "59s"),
        *(("BOLTLINK_CHECKS_EVERY", text) for text in ("0", "86399s", "91d")),
        ("BOLTLINK_SESSION_IDLE", "0"),
        ("BOLTLINK_SESSION_LIFE", "0d"),
        *(("BOLTLINK_BACKUP_KEEP", text) for text in ("0", "7x", "7d 7d", "d", "-3", "3 4d", "4w 7d")),
        ("BOLTLINK_LOG_LEVEL", "loud"),
        *(("BOLTLINK_ACCESS_LOG_SAMPLE", text) for text in ("1.5", "-0.1", "1%", "nan", "1e-3", "some")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("BOLTLINK_API_RATE", "many"),
        ("BOLTLINK_API_RATE", "0/s"),
        *(
            ("BOLTLINK_CLASS_RATES", text)
            for text in ("write", "write=many", "write=0/s", "a=1/s", "read=1/s, read=2/s")
        ),
        *(("BOLTLINK_OIDC_ISSUER", text) for text in ("a.example", "https://", "https://[", "https://a.example/?b")),
        *(("BOLTLINK_OIDC_CREATE_DOMAINS", text) for text in ("example", "@example.com", "*, example.com")),
        ("BOLTLINK_OIDC_CLIENT_ID", "two words"),
        ("BOLTLINK_OIDC_ROLE", "admin"),
        ("BOLTLINK_CORS_ORIGINS", "app.example.com"),
        ("BOLTLINK_CORS_ORIGINS", "*, https://app.example.com"),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({variable: value})
    assert caught.value.variable == variable
    assert caught.value.value == value
    assert str(caught.value) == f"{variable}: {value!r} is not {caught.value.allowed}"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "variable", ["BOLTLINK_ADMIN_KEY", "BOLTLINK_REDIS_URL", "BOLTLINK_MONGODB_URL", "OTEL_EXPORTER_OTLP_HEADERS"]
)
def test_wrong_secret_is_not_shown(variable: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({variable: "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(("BOLTLINK_REDIS_URL", text) for text in ("redis:6379", "http://redis", "redis://h:99999", "redis://[")),
        ("BOLTLINK_MONGODB_URL", "mongodb://["),
    ],
)
def test_a_store_is_named_by_a_url(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match="that starts with"):
        Settings.from_environ({variable: value})
    hosts = "mongodb://a:27017,b:27018/?replicaSet=rs0"
    assert Settings.from_environ({"BOLTLINK_MONGODB_URL": hosts}).mongodb_url == hosts


def test_a_password_that_cuts_mongodbs_url_in_two_is_refused_and_no_part_of_it_is_shown() -> None:
    for url in ("mongodb://u:hun/ter2@db/b", "mongodb://u:hun?ter2=3@db/b", "mongodb+srv://u:hun#ter2@db/b"):
        with pytest.raises(SettingsError, match="percent-encoded") as caught:
            Settings.from_environ({"BOLTLINK_MONGODB_URL": url})
        assert "ter2" not in str(caught.value)
    for url in ("mongodb://u:hun%2Fter2@a:1,b/links?replicaSet=rs0", "mongodb://db/links?appName=a@b"):
        assert Settings.from_environ({"BOLTLINK_MONGODB_URL": url}).mongodb_url == url


@pytest.mark.parametrize(("text", "size"), [("500MB", 500_000_000), ("64 GiB", 64 * 1024**3), ("7", 7)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_rates_of_classes() -> None:
    settings = Settings.from_environ({"BOLTLINK_CLASS_RATES": "read = 7/s,batch=1 /s, stats=off"})
    assert settings.class_rates == {"read": 7, "batch": 1}
    assert Settings.from_environ({"BOLTLINK_CLASS_RATES": "off"}).class_rates == {}


def test_paths_are_absolute_and_public_url_follows_the_host() -> None:
    settings = Settings.from_environ({"BOLTLINK_STATE_DIR": "x", "BOLTLINK_HOST": "::", "BOLTLINK_PORT": "81"})
    assert settings.state_dir == Path.cwd() / "x"
    assert settings.public_url == "http://[::1]:81"
    assert Settings.from_environ({"BOLTLINK_BASE_URL": "https://Sho.RT/"}).public_url == "https://sho.rt"


def test_file_of_settings_stands_behind_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text(
        '# ours\n\nBOLTLINK_PORT=81\n BOLTLINK_HOST = "::1" \nBOLTLINK_GEOIP_DB=countries.mmdb\nBOLTLINK_STALE_MAX=\n'
    )
    settings = Settings.from_environ({"BOLTLINK_SETTINGS_FILE": str(path), "BOLTLINK_PORT": "82"})
    assert (settings.host, settings.port, settings.stale_max) == ("::1", 82, 6 * 3600)
    assert settings.geoip_db == tmp_path / "countries.mmdb"


@pytest.mark.parametrize(
    ("text", "where", "shown"),
    [
        ("BOLTLINK_PORT=81\nBOLTLINK_PROT=82\n", ", line 2", "BOLTLINK_PROT"),
        ("BOLTLINK_PORT\n", ", line 1", "BOLTLINK_PORT"),
        ("BOLTLINK_MONGODB_URL mongodb://u:hunter2@db/?replicaSet=rs0\n", ", line 1", "BOLTLINK_MONGODB_URL"),
        ("PATH=/bin\n", ", line 1", "PATH"),
        ("BOLTLINK_SETTINGS_FILE=/other\n", ", line 1", "BOLTLINK_SETTINGS_FILE"),
        ("BOLTLINK_PORT=abc\n", "BOLTLINK_PORT", "abc"),
    ],
)
def test_wrong_line_of_the_file_is_named(tmp_path: Path, text: str, where: str, shown: str) -> None:
    path = tmp_path / "settings"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"BOLTLINK_SETTINGS_FILE": str(path)})
    assert caught.value.variable.endswith(where)
    assert caught.value.value == shown


def test_secret_in_a_file_that_everyone_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("BOLTLINK_REDIS_URL=redis://:hunter2@10.0.0.1\n")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod") as caught:
        Settings.from_environ({"BOLTLINK_SETTINGS_FILE": str(path)})
    assert "hunter2" not in str(caught.value)
    path.chmod(0o640)
    assert Settings.from_environ({"BOLTLINK_SETTINGS_FILE": str(path)}).redis_url == "redis://:hunter2@10.0.0.1"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_file_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "settings"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="BOLTLINK_SETTINGS_FILE") as caught:
        Settings.from_environ({"BOLTLINK_SETTINGS_FILE": str(path)})
    assert "\n" not in str(caught.value)


def test_every_row_says_what_it_means() -> None:
    for row in Settings.table():
        assert row["variable"].startswith(("BOLTLINK_", "OTEL_"))
        assert row["meaning"]


def test_reserved_words_are_in_lower_case() -> None:
    assert all(word == word.lower() for word in RESERVED_SEGMENTS)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/traces"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/mine"},
            "http://t/mine",
        ),
    ],
)
def test_where_traces_go_is_said_as_by_opentelemetry(environ: dict[str, str], url: str | None) -> None:
    assert Settings.from_environ(environ).traces_url == url


def test_headers_for_the_collector_are_percent_encoded_pairs() -> None:
    settings = Settings.from_environ({"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20a%3Db, x-team=links"})
    assert settings.otlp_headers == (("Authorization", "Bearer a=b"), ("x-team", "links"))


@pytest.mark.parametrize(("text", "share"), [("0", 0.0), ("1", 1.0), ("0.01", 0.01), (".5", 0.5), ("1.0", 1.0)])
def test_shares(text: str, share: float) -> None:
    assert Settings.from_environ({"BOLTLINK_ACCESS_LOG_SAMPLE": text}).access_log_sample == share


def test_what_is_right_can_be_had_beside_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("BOLTLINK_JOBS=3\nnonsense\nBOLTLINK_STATE_DIR=state\nBOLTLINK_MONGODB_URL=mongodb://a/\n")
    file.chmod(0o604)
    settings, wrong = Settings.salvage({"BOLTLINK_SETTINGS_FILE": str(file), "BOLTLINK_PORT": "abc"})
    assert (settings.state_dir, settings.jobs, settings.port) == (tmp_path / "state", 3, 8000)
    assert settings.mongodb_url is None
    assert [error.variable for error in wrong] == [f"{file}, line 2", "BOLTLINK_MONGODB_URL", "BOLTLINK_PORT"]
    with pytest.raises(SettingsError, match="line 2"):
        Settings.from_environ({"BOLTLINK_SETTINGS_FILE": str(file), "BOLTLINK_PORT": "abc"})
    assert Settings.salvage({"BOLTLINK_PORT": "80"})[1] == []


@pytest.mark.parametrize("line", ["BOLTLINK_STATE_DIR /srv/state", "BOLTLINK_STATE_DIR", None])
def test_what_names_the_state_folder_has_to_be_right(tmp_path: Path, line: str | None) -> None:
    """None: the file that may name it cannot be read."""
    file = tmp_path / "settings"
    if line is not None:
        file.write_text(line)
    environ = {"BOLTLINK_SETTINGS_FILE": str(file)}
    with pytest.raises(SettingsError):
        Settings.salvage(environ)
    settings, wrong = Settings.salvage({**environ, "BOLTLINK_STATE_DIR": str(tmp_path / "given")})
    assert settings.state_dir == tmp_path / "given"
    assert len(wrong) == 1


def test_a_name_of_a_file_that_is_none_is_one_line() -> None:
    with pytest.raises(SettingsError, match="BOLTLINK_SETTINGS_FILE: '  ' is not a path"):
        Settings.from_environ({"BOLTLINK_SETTINGS_FILE": "  "})
