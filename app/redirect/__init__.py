"""What a slug is answered with: L1, the look-ups behind it, and the bytes of answers."""

from app.redirect.answer import PREFIX, REDIRECT_CODES, AnswerBook
from app.redirect.channel import Channel
from app.redirect.hosts import Hosts
from app.redirect.resolver import Resolver
from app.redirect.rules import Decision, decide, entry_of
from app.redirect.table import ENTRY_LOCATION, Table

__all__ = [
    "ENTRY_LOCATION",
    "PREFIX",
    "REDIRECT_CODES",
    "AnswerBook",
    "Channel",
    "Decision",
    "Hosts",
    "Resolver",
    "Table",
    "decide",
    "entry_of",
]
