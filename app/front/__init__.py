"""The HTTP/1.1 server: one connection, answers in order."""

from app.front.connection import Connection
from app.front.exchange import TornadoExchange
from app.front.gate import Gate

__all__ = ["Connection", "Gate", "TornadoExchange"]
