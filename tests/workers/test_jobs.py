"""What the program of jobs does is what the API tells of."""

from __future__ import annotations

from collections.abc import Callable

from app.api.jobs import KINDS
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
        assert {kind.name for kind in make_kinds(settings, services.catalog, services.audit, delivering)} == set(KINDS)

    with_stores(scenario)
