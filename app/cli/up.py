"""`boltlink up`: checks what can be checked, starts supervisord, waits until everything is ready, says how to go on.

In the foreground it stays supervisord's parent, shows the logs (all as JSON lines with --json), hands SIGTERM and
SIGINT on, and ends with it; SIGHUP is `boltlink reload`. supervisord dies with it (SIGTERM by PR_SET_PDEATHSIG, so in
order). --detach lets it go on alone. Lines that nobody takes, because a disk is full or a pipe's reader gone, are lost
and end nothing; a terminal that is gone ends it.
A start that fails leaves nothing running and says one line.

    <state>/up.lock   held (flock) by supervisord for as long as it lives: never two on one state folder
    <run>             held, too: nobody tidies it up
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from app.accounts import make_key
from app.cli.errors import CliError
from app.cli.follow import Follower, format_line, last_lines
from app.cli.follow import as_json as json_line
from app.cli.notify import tell_systemd
from app.lifeline import die_with_parent, take_lock
from app.observe import expect_programs
from app.settings import Settings
from app.stores import PlaceError, make_private_folder, mongodb_socket, supervisor_pid_file
from app.stores.embedded import EngineError, prepare
from app.stores.replica_set import ensure_replica_set
from app.tree import ROOT, STOP_LIMIT_S, Tree

__all__ = ["port_refusal", "up"]

READY_LIMIT_S = 60.0
STEP_S = 0.05
FOLLOW_STEP_S = 0.2
LEFTOVER_S = 10.0  # what a killed supervisord left behind is draining, and may still hold the ports
WORDS_LINES_MAX = 5  # of what supervisord said last, among which its reason is looked for
WORDS_MAX = 500  # characters of it that are shown
DEATHS_MAX = 3  # a program that dies so often before it answers will not answer


@click.command(epilog="Example: boltlink up --detach")
@click.option("-d", "--detach", is_flag=True, help="Leave it running in the background.")
@click.option("--json", "as_json", is_flag=True, help="Say all in JSON lines, logs of engines too.")
@click.option("--patient", is_flag=True, help="Go on when stores do not answer within a minute.")
def up(detach: bool, as_json: bool, patient: bool) -> None:
    """Start everything: Redis and MongoDB unless their URLs are set, web processes, workers."""
    tree = Tree(Settings.from_environ(os.environ))
    os.umask(0o077)  # of all that programs write
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops what has started, as Ctrl-C does
    locks = _prepare(tree)
    follower = Follower(tree.logs)
    supervisor = _start(tree, locks, detach)
    for lock in locks:
        os.close(lock)
    try:
        late = _wait_until_ready(tree, supervisor)
        if late is not None and not patient:
            raise CliError(late)
    except BaseException as error:
        _stop(supervisor)
        if isinstance(error, KeyboardInterrupt):
            raise CliError("interrupted while starting; everything was stopped") from None
        raise
    show = partial(json_line, level="info") if as_json else _as_written
    if not detach:
        _show(follower, show)  # what says how to go on comes behind what the start itself had to say
    if late is not None:
        _tell(_log_line("warning", late) if as_json else late)
    elif as_json:
        _tell(_log_line("info", "ready", url=tree.settings.public_url))
    else:
        _tell(_welcome(tree))
    if not detach:
        tell_systemd("READY=1")
        status = _accompany(supervisor, follower, show)
        _leave_untaken()
        sys.exit(status)


def _as_written(program: str, line: str) -> str | None:
    return format_line(program, line, level="info", is_terminal=sys.stdout.isatty())


def _prepare(tree: Tree) -> list[int]:
    """Folders, locks, ports, engines, key; returns the descriptors of the locks. Raises CliError."""
    settings = tree.settings
    try:
        for folder in (settings.state_dir, tree.run, tree.logs):
            make_private_folder(folder)
    except PlaceError as error:
        raise CliError(str(error)) from error
    lock = take_lock(settings.state_dir / "up.lock")
    if lock is None:
        pid = tree.supervisor_pid()
        if pid is None:
            raise CliError(f"another boltlink up, or a restore, is at work on {settings.state_dir}: wait for it")
        raise CliError(f"already running on {settings.state_dir} (pid {pid}); see: boltlink status")
    # An ordered end removes the pid file.
    patience_s = LEFTOVER_S if supervisor_pid_file(settings).exists() else 0.0
    _check_port("BOLTLINK_PORT", settings.host, settings.port, patience_s)
    _check_port("BOLTLINK_METRICS_PORT", settings.metrics_host, settings.metrics_port, patience_s)
    try:
        for name in tree.engines:
            prepare(name, settings)
    except (EngineError, PlaceError) as error:
        raise CliError(str(error)) from error
    if settings.admin_key is None:
        _make_admin_key(settings.state_dir / "admin-key")
    expect_programs(tree.run / "metrics", [*tree.web_names, *tree.worker_names])
    return [lock, _in_use(tree.run)]


def _in_use(folder: Path) -> int:
    """A lock that says so to systemd-tmpfiles (tmpfiles.d(5), "BSD file locks").

    Else a run folder in /tmp loses what nobody touched for ten days: supervisord's pid, without which nothing starts.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _check_port(variable: str, host: str, port: int, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while (refusal := port_refusal(host, port)) is not None:
        if time.monotonic() >= deadline:
            raise CliError(f"{variable}: cannot listen on {host}:{port}: {refusal}")
        time.sleep(STEP_S)


def port_refusal(host: str, port: int) -> str | None:
    """Why nobody can listen there now; None when it can be listened on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror
    return None


def _make_admin_key(path: Path) -> None:
    """Makes the admin key once, whole or not at all; only this user may read it."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(make_key(secrets.token_urlsafe) + "\n")
    draft.rename(path)


def _start(tree: Tree, locks: list[int], detach: bool) -> subprocess.Popen[bytes]:
    """Starts supervisord, which inherits the locks."""
    environment = tree.environment()
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "app.supervision", "-c", str(ROOT / "supervisord.conf")],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(tree.logs / "supervisord.err").open("wb"),
        pass_fds=locks,
        # A session of its own either way: Ctrl-C reaches `up`, which stops the tree in order.
        start_new_session=True,
        preexec_fn=None if detach else partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509
    )


def _wait_until_ready(tree: Tree, supervisor: subprocess.Popen[bytes]) -> str | None:
    """Returns when every web process is ready, or with what is not ready in time. Raises CliError: it will not be."""
    deadline = time.monotonic() + READY_LIMIT_S
    watch = _Watch(tree)
    if "mongod" in tree.engines:
        if not _wait(lambda: mongodb_socket(tree.settings).exists(), tree, supervisor, watch, deadline):
            return _lateness(tree)
        while True:
            try:
                ensure_replica_set(mongodb_socket(tree.settings), limit_s=1.0)
            except TimeoutError as error:
                watch.check()
                if time.monotonic() > deadline:
                    raise CliError(str(error)) from error
            else:
                break
    is_ready = all(_wait(partial(_is_ready, tree, name), tree, supervisor, watch, deadline) for name in tree.web_names)
    return None if is_ready else _lateness(tree)


def _lateness(tree: Tree) -> str:
    states = {name: tree.ready(name) for name in tree.web_names}
    waiting = "; ".join(f"{name} {why}" for name, (is_ready, why) in states.items() if not is_ready)
    return f"not ready within {READY_LIMIT_S:.0f} s: {waiting}"


def _is_ready(tree: Tree, name: str) -> bool:
    return tree.ready(name)[0]


def _wait(
    fact: Callable[[], bool],
    tree: Tree,
    supervisor: subprocess.Popen[bytes],
    watch: _Watch,
    deadline: float,
) -> bool:
    """Whether the fact came true before the deadline. Raises CliError: it cannot any more."""
    while not fact():
        if supervisor.poll() is not None:
            raise CliError(f"supervisord ended: {_last_words(tree) or f'exit status {supervisor.returncode}'}")
        watch.check()
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP_S)
    return True


def _last_words(tree: Tree) -> str:
    """Why supervisord ended, as it said itself; "" when it said nothing.

    What it does not accept it says on stderr, with an advice below that helps nobody: its command line is ours.
    """
    for name in ("supervisord.err", "supervisord.log"):
        lines = last_lines(tree.logs / name, WORDS_LINES_MAX)
        if said := [line for line in lines if line.strip() and not line.startswith("For help, use ")]:
            return said[-1].removeprefix("Error: ")[:WORDS_MAX]
    return ""


class _Watch:
    """Notices a program that dies again and again instead of coming up."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._pids: defaultdict[str, set[int]] = defaultdict(set)

    def check(self) -> None:
        """Raises CliError with the program's last words."""
        for process in self._tree.processes() or []:
            pids = self._pids[process["name"]]
            pids.add(process["pid"])
            refusal = self._tree.refusal(process)
            if refusal is not None:
                raise CliError(refusal)
            if len(pids - {0}) > DEATHS_MAX:
                words = last_lines(self._tree.logs / f"{process['name']}.log", 1)
                raise CliError(f"{process['name']} does not start: {words[0][:300] if words else 'it said nothing'}")


def _stop(supervisor: subprocess.Popen[bytes]) -> None:
    if supervisor.poll() is None:
        supervisor.terminate()
        try:
            supervisor.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()


def _welcome(tree: Tree) -> str:
    settings = tree.settings
    key_file = settings.state_dir / "admin-key"
    default_socket = ROOT / "var" / "run" / "supervisor.sock"
    control = "-c supervisord.conf" if tree.socket == default_socket else f"-s unix://{tree.socket}"
    lines = [
        f"BoltLink is ready at {settings.public_url}",
        f"admin key: {'BOLTLINK_ADMIN_KEY' if settings.admin_key else key_file}",
        "try:",
        f"  {_command('boltlink')} shorten https://www.rfc-editor.org/rfc/rfc9110.html",
        f"  {_command('boltlink')} status",
        f"  {_command('supervisorctl')} {control} status",
    ]
    return "\n".join(lines)


def _command(name: str) -> str:
    """What a person types from here: the name alone only where a shell finds it."""
    if shutil.which(name) is not None:
        return name
    path = Path(sys.executable).with_name(name)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _log_line(level: str, event: str, **fields: str) -> str:
    """What `up` says itself, as a line of a log."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": now, "level": level, "program": "up", "event": event, **fields})


def _show(follower: Follower, show: Callable[[str, str], str | None]) -> None:
    """What programs have written since the last time."""
    for program, line in follower.poll():
        text = show(program, line)
        if text is not None:
            _tell(text)


def _tell(text: str) -> None:
    """Writes to whoever watches. What runs is not ended by an output that does not take it; it is in the logs, too."""
    try:
        click.echo(text)
    except OSError as error:
        if error.errno == errno.EIO:  # the terminal is gone, and with it whoever would end this by Ctrl-C
            raise


def _leave_untaken() -> None:
    """What could not be written until now is dropped: the interpreter's own last try would be the exit status."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _accompany(supervisor: subprocess.Popen[bytes], follower: Follower, show: Callable[[str, str], str | None]) -> int:
    """Shows logs and hands signals on until supervisord ends; the exit status."""
    ordered: list[int] = []

    def hand_on(number: int, _: object) -> None:
        ordered.append(number)
        tell_systemd("STOPPING=1")
        supervisor.send_signal(signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hand_on)
    reloads: list[subprocess.Popen[bytes]] = []  # in processes of their own: logs are shown meanwhile
    command = [sys.executable, "-m", "app.cli", "reload"]
    signal.signal(signal.SIGHUP, lambda *_: reloads.append(subprocess.Popen(command)))  # noqa: S603
    while True:
        ended = supervisor.poll() is not None
        _show(follower, show)
        if ended:
            break
        for reload in reloads:
            reload.poll()  # leaves no zombie
        time.sleep(FOLLOW_STEP_S)
    if supervisor.returncode == 0 or ordered:
        return 0
    click.echo(
        f"boltlink: supervisord ended unexpectedly ({supervisor.returncode}); its programs were stopped",
        err=True,
    )
    return 1
