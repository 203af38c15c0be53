"""What holds for every command: help with an example that is right, wrong usage is status 2, failure is one line."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from app.cli import cli, main
from tests.api.service import ADMIN_KEY

ROOT = Path(__file__).parents[2]


def walk(command: click.Command, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below one, and itself."""
    yield names, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*names, name))


ALL = list(walk(cli, ()))
LEAVES = [(names, command) for names, command in ALL if not isinstance(command, click.Group)]
DESTROYING = [
    "links delete x",
    "links delete-many x",
    "tags delete x",
    "keys revoke x",
    "domains delete x.example",
    "users delete x",
    "erase x",
]


def example_of(names: tuple[str, ...], command: click.Command) -> list[str]:
    """The words behind `boltlink` in a command's example."""
    line = (command.epilog or "").removeprefix('Example: eval "$(').removesuffix(')"').removeprefix("Example: ")
    words = shlex.split(line)
    assert words[: 1 + len(names)] == ["boltlink", *names], f"boltlink {' '.join(names)} shows no example of its own"
    return words[1:]


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    """The console script with these words, in this process: status, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["boltlink", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.mark.parametrize(("names", "command"), ALL, ids=[" ".join(names) or "boltlink" for names, _ in ALL])
def test_every_command_has_help_and_an_example_that_is_right(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    command: click.Command,
) -> None:
    status, said, _ = run(capsys, monkeypatch, *names, "--help")
    assert status == 0
    assert "Example: " in said
    assert command.help
    rest = example_of(names, command)[len(names) :]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None
        command, rest = found, rest[1:]
    command.make_context(names[-1] if names else "boltlink", rest)  # refuses what is wrong usage


@pytest.mark.parametrize("names", [names for names, _ in LEAVES], ids=" ".join)
def test_wrong_usage_of_every_command_is_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    status, said, error = run(capsys, monkeypatch, *names, "--no-such-option")
    assert (status, said) == (2, "")
    assert "--no-such-option" in error


@pytest.mark.parametrize("words", DESTROYING)
def test_what_destroys_is_refused_where_nobody_can_be_asked(words: str) -> None:
    environ = {**os.environ, "BOLTLINK_URL": "http://127.0.0.1:1", "BOLTLINK_API_KEY": ADMIN_KEY}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *words.split()],
        env=environ, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "--yes" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_destroys_asks_on_a_terminal_and_no_is_no() -> None:
    environ = {**os.environ, "BOLTLINK_URL": "http://127.0.0.1:1", "BOLTLINK_API_KEY": ADMIN_KEY}
    ours, theirs = pty.openpty()
    os.write(ours, b"n\n")
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "links", "delete", "x"],
        env=environ, cwd=ROOT, stdin=theirs, capture_output=True, text=True, check=False,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 1
    assert "Delete x?" in done.stderr
    assert "does not answer" not in done.stderr


def test_what_the_disk_refuses_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "up.lock").mkdir()
    monkeypatch.setenv("BOLTLINK_STATE_DIR", str(tmp_path))
    status, _, error = run(capsys, monkeypatch, "status")
    assert (status, error) == (1, f"boltlink: {tmp_path}/up.lock: Is a directory\n")


def test_a_folder_that_never_held_data_is_not_backed_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = tmp_path / "mistyped"
    monkeypatch.setenv("BOLTLINK_STATE_DIR", str(state))
    status, out, error = run(capsys, monkeypatch, "backup", str(tmp_path / "nightly.backup"))
    assert (status, out, error) == (1, "", f"boltlink: no data in {state}: is that BOLTLINK_STATE_DIR?\n")
    assert not list(tmp_path.iterdir())


def test_what_is_no_text_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOLTLINK_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("BOLTLINK_API_KEY", ADMIN_KEY)
    for words in (
        ["shorten", "https://a.example/\udcff"],
        ["links", "show", "\udcff"],
        ["links", "list", "--tag", "\udcff"],
    ):
        status, said, error = run(capsys, monkeypatch, *words)
        assert (status, said, error.count("\n")) == (1, "", 1)
        assert "\\udcff" in error


def test_bash_completes_commands_of_groups() -> None:
    """What bash itself does with the script when somebody presses Tab."""
    bash = shutil.which("bash")
    assert bash is not None
    folder = Path(sys.executable).parent
    asked = """
        eval "$(boltlink completion bash)"
        COMP_WORDS=(boltlink links e) COMP_CWORD=2
        _boltlink_completion boltlink
        echo "${COMPREPLY[@]}"
    """
    environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run([bash, "-c", asked], env=environ, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["edit", "enable"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    status, said, _ = run(capsys, monkeypatch, "completion", shell)
    assert status == 0
    assert "boltlink" in said
    assert "_BOLTLINK_COMPLETE" in said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm>", "is BOLTLINK_URL right?"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n[]", "answered 502"),
        (b'HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\n\r\n{"errors":["none"]}', "answered 404"),
        (b"", "did not answer in time"),
    ],
    ids=["another site", "a proxy", "another API", "nothing"],
)
def test_who_does_not_answer_as_boltlink_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: bytes, words: str
) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("BOLTLINK_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
    monkeypatch.setenv("BOLTLINK_API_KEY", ADMIN_KEY)
    monkeypatch.setattr("app.cli.client.LIMIT_S", 0.5)

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(answer)
            connection.recv(1)  # until the client gives up

    thread = threading.Thread(target=serve)
    thread.start()
    status, said, error = run(capsys, monkeypatch, "links", "list")
    thread.join()
    server.close()
    assert (status, said) == (1, "")
    assert words in error
    assert error.count("\n") == 1
