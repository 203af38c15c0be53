"""Who is told of changes of links over HTTP: webhooks, what they are sent, and what became of it."""

from app.webhooks.delivery import KIND, Deliverer, Delivery, body_of
from app.webhooks.fanout import FanOut
from app.webhooks.model import EVENTS, TEST_EVENT, Secret, Webhook, WebhookState, lane_of
from app.webhooks.receivers import make_fetcher
from app.webhooks.signing import make_secret, show_secret, sign
from app.webhooks.storage import INDEXES, WEBHOOKS, WebhookError, WebhookStore

__all__ = [
    "EVENTS",
    "INDEXES",
    "KIND",
    "TEST_EVENT",
    "WEBHOOKS",
    "Deliverer",
    "Delivery",
    "FanOut",
    "Secret",
    "Webhook",
    "WebhookError",
    "WebhookState",
    "WebhookStore",
    "body_of",
    "lane_of",
    "make_fetcher",
    "make_secret",
    "show_secret",
    "sign",
]
