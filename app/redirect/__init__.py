"""What a slug is answered with: L1, the look-ups behind it, and the bytes of answers."""

from app.redirect.answer import PAGE_STYLE, PREFIX, REDIRECT_CODES, AnswerBook
from app.redirect.channel import Channel
from app.redirect.hosts import Hosts
from app.redirect.password import FORM_BYTES_MAX, PasswordDesk, is_cross_site, password_page
from app.redirect.resolver import Resolver
from app.redirect.rules import NOTHING_KNOWN, PAGE_STATUSES, Decision, Known, Request, decide, decide_plain, entry_of
from app.redirect.specials import Specials
from app.redirect.table import ENTRY_LOCATION, Entry, Table
from app.redirect.visitor import Visitor, Visitors
from app.redirect.visits import Visits

__all__ = [
    "ENTRY_LOCATION",
    "FORM_BYTES_MAX",
    "NOTHING_KNOWN",
    "PAGE_STATUSES",
    "PAGE_STYLE",
    "PREFIX",
    "REDIRECT_CODES",
    "AnswerBook",
    "Channel",
    "Decision",
    "Entry",
    "Hosts",
    "Known",
    "PasswordDesk",
    "Request",
    "Resolver",
    "Specials",
    "Table",
    "Visitor",
    "Visitors",
    "Visits",
    "decide",
    "decide_plain",
    "entry_of",
    "is_cross_site",
    "password_page",
]
