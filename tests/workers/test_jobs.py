"""What the program of jobs does is what the API tells of."""

from __future__ import annotations

from collections.abc import Callable

from app.api.jobs import KINDS
from app.jobs.kind import AT_ONCE
from app.webhooks import KIND as WEBHOOK
from app.webhooks import Deliverer, make_fetcher
from tests.api.service import make_services
from tests.conftest import Stores
from workers.jobs import make_kinds


def test_the_api_lists_the_jobs_of_every_kind_that_is_done(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        services = make_services(stores)
        settings = services.settings
        fetcher = make_fetcher(settings)
        delivering = Deliverer(stores.database, services.webhooks, services.jobs, fetcher, public_url="")
        kinds = make_kinds(settings, services.catalog, services.audit, delivering)
        assert {kind.name for kind in kinds} == set(KINDS)
        others = sum(kind.most for kind in kinds if kind.name != WEBHOOK)
        assert others <= AT_ONCE / 2, "whatever pages do, webhooks have half of a program"

    with_stores(scenario)
