"""A real nginx in front of a socket: one worker, keep-alive to what is behind it, in a folder of its own."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import accepts, wait_for
from tests.needs import find

__all__ = ["BINARY", "Nginx", "run_nginx"]

BINARY = find("nginx")

# As lax as nginx can be told to be: whatever it passes on is a test of what is behind it.
CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    client_header_timeout 5s; client_body_timeout 5s; keepalive_requests 1000000; client_max_body_size 0;
    ignore_invalid_headers off; underscores_in_headers on; merge_slashes off;
    upstream front {{ least_conn; {upstream} keepalive 4; keepalive_requests 1000000; }}
    server {{
        listen unix:{folder}/in.sock;
        location / {{
            proxy_pass http://front;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_request_buffering {buffering};
            proxy_next_upstream off;
        }}
    }}
}}
"""


class Nginx:
    """A running one; `client` connects to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def client(self) -> Iterator[socket.socket]:
        """A client's connection."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.folder / "in.sock"))
            yield client


@contextmanager
def run_nginx(folder: Path, *upstream: Path, buffers_requests: bool) -> Iterator[Nginx]:
    """nginx from here to the end of the block; `upstream` are unix sockets, of which it takes the least busy."""
    assert BINARY is not None
    user = "user root;" if os.getuid() == 0 else ""  # the worker must reach the socket
    buffering = "on" if buffers_requests else "off"
    servers = "".join(f"server unix:{path};" for path in upstream)
    text = CONFIGURATION.format(folder=folder, upstream=servers, user=user, buffering=buffering)
    (folder / "nginx.conf").write_text(text)
    command = [BINARY, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command)
    try:
        wait_for(lambda: process.poll() is not None or accepts(folder / "in.sock"))
        assert process.poll() is None, (folder / "error.log").read_text()
        yield Nginx(folder)
    finally:
        process.terminate()
        process.wait(10)
