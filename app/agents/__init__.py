"""What a head says of its visitor: device, os, browser, language, referrer, country, person or bot. Pure."""

from app.agents.address import (
    NOBODY,
    Network,
    Networks,
    address_text,
    client_address,
    forwarded_client,
    network_of,
)
from app.agents.country import CountryFinder
from app.agents.fields import FieldFinder
from app.agents.memory import Memory
from app.agents.traits import VISITOR_FIELDS, Kind, Traits, TraitsReader

__all__ = [
    "NOBODY",
    "VISITOR_FIELDS",
    "CountryFinder",
    "FieldFinder",
    "Kind",
    "Memory",
    "Network",
    "Networks",
    "Traits",
    "TraitsReader",
    "address_text",
    "client_address",
    "forwarded_client",
    "network_of",
]
