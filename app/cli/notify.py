"""Tells systemd that a service of Type=notify is ready. In: a state. Out: one datagram, where systemd asked for it.

Source: sd_notify(3). May import: the standard library.
"""

from __future__ import annotations

import os
import socket

__all__ = ["tell_systemd"]


def tell_systemd(state: str) -> None:
    """Sends `state`, such as READY=1; does nothing when NOTIFY_SOCKET is not set."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as pipe:
        pipe.connect(f"\0{address[1:]}" if address.startswith("@") else address)  # an abstract one
        pipe.sendall(state.encode())
