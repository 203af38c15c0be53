"""What a head says of its visitor: device, os, browser, language, referrer, country, person or bot. Pure."""

from app.agents.address import client_address
from app.agents.country import CountryFinder
from app.agents.traits import Kind, Traits, TraitsReader

__all__ = ["CountryFinder", "Kind", "Traits", "TraitsReader", "client_address"]
