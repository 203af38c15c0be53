"""Links without a title get that of their page: the API, a program that does jobs, and a server with pages."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from app.accounts import AUDIT, SYSTEM
from app.jobs import JOBS, JobState, order_of
from app.outbound import Guard, PageReader
from app.stores import transaction
from app.titles import KIND, Asking, TitleReader
from app.titles.reading import ATTEMPTS_MAX
from tests.api.service import serve
from tests.conftest import Stores
from tests.jobs.work import doing
from tests.outbound.world import HERE, Pages, scene_of
from tests.webhooks.world import until

HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"


class World(Pages):
    """Its links, and their jobs."""

    async def make(self, path: str, **wish: Any) -> dict[str, Any]:
        answer = await self.api.client.post("/api/v1/links", json={"target": self.url + path, **wish})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def show(self, link: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.api.client.get(f"/api/v1/links/{link['slug']}")).json()
        return shown

    async def jobs(self, state: str) -> list[dict[str, Any]]:
        answer = await self.api.client.get("/api/v1/jobs", params={"state": state})
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    @asynccontextmanager
    async def working(self, *, is_on: bool = True) -> AsyncIterator[None]:
        """A program of jobs, until the block ends."""
        services = self.api.services
        pages = PageReader(Guard(HERE), answer_s=2.0, bytes_max=64 * 1024)
        kind = TitleReader(services.catalog, services.audit, pages, is_on=is_on).kind()
        assert kind.name == KIND
        quick = replace(kind, first_s=0.02, factor=1.0)
        async with doing(services.jobs, self.api.stores, quick):
            yield

    async def over(self, count: int) -> list[dict[str, Any]]:
        """So many jobs, when they are over."""

        async def found() -> list[dict[str, Any]]:
            assert await self.jobs(JobState.DEAD.value) == []
            done = await self.jobs(JobState.DONE.value)
            return done if len(done) >= count else []

        jobs: list[dict[str, Any]] = await until(found)
        return jobs


def scene(play: Callable[[World], Awaitable[None]], **settings: str) -> Callable[[Stores], Awaitable[None]]:
    return scene_of(World, play, **{"BOLTLINK_TITLES": "on", **settings})


def test_new_links_without_a_title_are_called_by_their_page(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        world.pages |= {
            "/a": HTML + "<title>Grüße &amp; more</title>".encode(),
            "/b": b"HTTP/1.1 302 Found\r\nLocation: /a\r\n\r\n",
            "/own": HTML + b"<title>not asked for</title>",
        }
        links = [await world.make(path) for path in ("/a", "/b#part")]
        own = await world.make("/own", title="My own")
        body = {"links": [{"target": f"{world.url}/a"}, {"target": f"{world.url}/own", "title": "Mine"}]}
        batch = (await world.api.client.post("/api/v1/links/batch", json=body)).json()["results"]
        links.append(batch[0]["link"])
        waiting = await world.api.stores.database[JOBS].find().to_list()
        assert all(abs(row["order"] - order_of(int(row["created"].timestamp()))) < order_of(60) for row in waiting)
        async with world.working():
            await world.over(3)
        for link in links:
            shown = await world.show(link)
            assert shown["title"] == "Grüße & more"
            assert shown["version"] > link["version"]
        assert (await world.show(own))["title"] == "My own"
        assert "/own" not in world.asked
        found = (await world.api.client.get("/api/v1/links", params={"q": "grüße"})).json()["items"]
        assert len(found) == 3, "a title that was read is found"
        note = (await world.api.client.get("/api/v1/audit", params={"subject": f"link:/{links[0]['slug']}"})).json()
        told = [(row["who"]["kind"], row["what"]) for row in note["items"]]
        assert told == [("system", "link.update"), ("key", "link.create")]

    with_stores(scene(play))


def test_what_has_no_title_to_give_leaves_the_link_as_it_is(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        world.pages |= {
            "/nothing": HTML + b"<p>no title</p>",
            "/image": b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n<title>x</title>",
            "/busy": b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            "/inside": b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n",
        }
        links = [await world.make(path) for path in ("/nothing", "/image", "/gone", "/busy", "/inside")]
        async with world.working():
            jobs = await world.over(5)
        assert {job["error"] for job in jobs} == {
            *("the page has no title", "it is no HTML page", "the page answered 404", "the page answered 503"),
            "must lead to a public address",
        }
        for link in links:
            assert await world.show(link) == link
        assert world.asked.count("/busy") == 6
        assert (world.asked.count("/gone"), world.asked.count("/inside")) == (1, 1)

    with_stores(scene(play))


def test_who_changes_a_link_meanwhile_is_right(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        world.pages |= {"/a": b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"}
        for slug in ("named", "gone", "taken"):
            await world.make("/a", slug=slug)
        client = world.api.client
        assert (await client.patch("/api/v1/links/named", json={"title": "By hand"})).status_code == 200
        for slug in ("gone", "taken"):
            assert (await client.delete(f"/api/v1/links/{slug}")).status_code == 204
        world.pages["/a"] = HTML + b"<title>By machine</title>"
        await world.make("/a", slug="taken", title="Another one")
        async with world.working():
            jobs = await world.over(3)
        assert sorted(job["error"] for job in jobs) == ["the link has a title", "the link is gone", "the link is gone"]
        assert (await world.show({"slug": "named"}))["title"] == "By hand"
        assert world.asked == []

    with_stores(scene(play, BOLTLINK_DELETED_KEPT="0s"))


def test_who_changes_a_link_while_its_page_is_read_for_the_last_time_is_right(
    with_stores: Callable[..., None],
) -> None:
    async def play(world: World) -> None:
        link = await world.make("/a", slug="raced")

        async def change() -> None:
            answer = await world.api.client.patch("/api/v1/links/raced", json={"notes": str(len(world.asked))})
            assert answer.status_code == 200

        world.pages["/a"] = HTML + b"<title>By machine</title>"
        world.meanwhile = change
        await world.api.stores.database[JOBS].update_one({}, {"$set": {"attempts": ATTEMPTS_MAX - 1}})
        async with world.working():
            (job,) = await world.over(1)
        assert job["error"] == "the link was changed meanwhile"
        assert job["attempts"] == ATTEMPTS_MAX
        assert (await world.show(link))["title"] == ""

    with_stores(scene(play))


def test_nothing_is_asked_where_titles_are_off(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        world.pages["/a"] = HTML + b"<title>A page</title>"
        await world.make("/a")
        async with world.working(is_on=False):
            (job,) = await world.over(1)
        assert job["error"] == "titles are off"
        assert world.asked == []

    async def play_off(world: World) -> None:
        await world.make("/a")
        assert [await world.jobs(state.value) for state in JobState] == [[]] * len(JobState)

    with_stores(scene(play))
    with_stores(scene(play_off, BOLTLINK_TITLES="off"))


def test_a_link_that_was_not_made_leaves_no_job(with_stores: Callable[..., None]) -> None:
    async def scenario(stores: Stores) -> None:
        async with serve(stores, None, BOLTLINK_TITLES="on") as api:
            services, database = api.services, stores.database
            asking = Asking(services.jobs, services.audit.write)
            link = services.catalog.draft(target="https://example.com/", slug="a")
            new = {"target": link.target}
            note = services.audit.note(SYSTEM, "link.create", f"link:{link.key}", new=new, link=link)
            for is_made in (False, True):
                with suppress(CancelledError):
                    async with transaction(database) as session:
                        await asking.write([note], session)
                        if not is_made:
                            raise CancelledError
                told = await database[AUDIT].count_documents({"what": "link.create"})
                assert (told, await database[JOBS].count_documents({})) == (is_made, is_made)

    with_stores(scenario)
