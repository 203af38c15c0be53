"""The HTTP/1.1 server: one connection, answers in order."""

from app.front.connection import Connection
from app.front.exchange import TornadoExchange
from app.front.gate import Gate, pack_peer
from app.front.listener import Listener

__all__ = ["Connection", "Gate", "Listener", "TornadoExchange", "pack_peer"]
