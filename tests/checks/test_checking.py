"""Links are broken and mended by what is found of their pages: the API, a program of jobs, a server with pages."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from datetime import datetime

import pytest

from app.accounts import AUDIT
from app.checks import KIND, Checker, CheckJob
from app.checks.checking import ATTEMPTS_MAX, KEPT_S, mark_of
from app.checks.judging import FAIL_LOOKS, GONE_LOOKS
from app.checks.outage import HOSTS_MAX
from app.jobs import JOBS, Claimed, JobState, RetryError, Task
from app.outbound import Guard, PageReader
from app.outbound.guard import Address, UnaskedNameError
from app.outbound.page import REDIRECTS_MAX
from tests.checks.world import FINE, GONE, World, scene

ILL = b"HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n"


def test_a_link_whose_page_is_gone_is_broken_and_mended_when_it_is_back(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        world.pages |= {"/here": FINE, "/walled": b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "/ill": ILL}
        made = {slug: await world.make(slug, f"/{slug}") for slug in ("here", "walled", "ill", "lost")}
        assert {link["broken"] for link in made.values()} == {None}
        await world.check()
        shown = {slug: await world.show(slug) for slug in made}
        assert shown["here"] == made["here"]
        assert shown["walled"] == made["walled"]
        assert shown["lost"]["broken"]["reason"] == "it answers 404"
        assert shown["ill"]["broken"]["reason"] == "it answers 500"
        assert datetime.fromisoformat(shown["lost"]["broken"]["since"]).tzinfo is not None
        assert shown["lost"]["version"] > made["lost"]["version"]
        assert (world.asked.count("/lost"), world.asked.count("/ill")) == (GONE_LOOKS, FAIL_LOOKS)
        assert (world.asked.count("/here"), world.asked.count("/walled")) == (1, 1)
        assert await world.broken() == ["ill", "lost"]
        entry = (await world.entries("lost"))[0]
        assert (entry["what"], entry["who"]["kind"]) == ("link.broken", "system")
        assert entry["fields"] == {"broken": {"old": None, "new": shown["lost"]["broken"]}}

        await world.check()
        assert await world.show("lost") == shown["lost"], "what is broken already is looked at once, and not written"
        assert world.asked.count("/lost") == GONE_LOOKS + 1

        world.pages["/lost"] = FINE
        await world.check()
        mended = await world.show("lost")
        assert mended["broken"] is None
        assert mended["version"] > shown["lost"]["version"]
        assert await world.broken() == ["ill"]
        assert "broken" not in await world.row("lost")
        whats = [entry["what"] for entry in await world.entries("lost")]
        assert whats == ["link.mended", "link.broken", "link.create"]
        assert (await world.entries("lost"))[0]["fields"]["broken"] == {"old": shown["lost"]["broken"], "new": None}

    with_stores(scene(play))


def test_a_page_that_comes_back_in_time_was_never_gone(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        made = await world.make("a", "/a")

        async def look() -> None:
            if len(world.asked) == GONE_LOOKS:
                world.pages["/a"] = FINE

        world.meanwhile = look
        (job,) = await world.check()
        assert (len(world.asked), job["error"]) == (GONE_LOOKS, "")
        assert job["note"] == {"found": "it answers 200", "gone": 0, "failures": 0, "since": None}
        assert await world.show("a") == made

    with_stores(scene(play))


def test_a_server_that_is_renewed_is_not_gone_after_one_404(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        world.pages["/a"] = ILL
        made = await world.make("a", "/a")

        async def look() -> None:
            found = [ILL, ILL, GONE, FINE]
            world.pages["/a"] = found[min(len(world.asked), len(found)) - 1]

        world.meanwhile = look
        await world.check()
        assert len(world.asked) == GONE_LOOKS + 1
        assert await world.show("a") == made
        assert "link.broken" not in [entry["what"] for entry in await world.entries("a")]

    with_stores(scene(play))


def test_while_many_hosts_fail_and_none_answers_no_link_is_broken(with_stores: Callable[..., None]) -> None:
    """Names are still known, as a name server within a company knows them, and nothing else is let out."""

    async def play(world: World) -> None:
        async def look_up(host: str, port: int) -> Sequence[Address]:
            raise OSError("Name or service not known")

        world.lookup = look_up
        for n in range(HOSTS_MAX + 5):
            await world.make(f"s{n}", "", target=f"http://h{n}.example/")
        jobs = await world.check()
        assert {job["attempts"] for job in jobs} == {ATTEMPTS_MAX}
        assert max(job["note"]["failures"] for job in jobs) < FAIL_LOOKS
        assert await world.broken() == []

    with_stores(scene(play))


def test_no_answer_breaks_a_link_and_a_page_that_leads_around_does_not(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        world.pages |= {
            "/loop": b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n",
            "/noise": b"no HTTP\r\n\r\n",
            "/mute": b"HTTP/1.1 200",
            "/moved": b"HTTP/1.1 301 Moved\r\nLocation: /here\r\n\r\n",
            "/here": FINE,
        }
        for slug in ("loop", "noise", "mute", "moved"):
            await world.make(slug, f"/{slug}")
        port = await free_port()
        await world.make("closed", "", target=f"http://127.0.0.1:{port}/")
        await world.check()
        reasons = {slug: (await world.show(slug))["broken"] for slug in ("loop", "noise", "mute", "closed", "moved")}
        assert reasons["closed"]["reason"] == "refuses connections"
        assert reasons["mute"]["reason"] == "breaks connections off"
        assert (reasons["moved"], reasons["loop"], reasons["noise"]) == (None, None, None)
        assert world.asked.count("/loop") == REDIRECTS_MAX + 1, "once: it may lead on whoever brings a cookie along"

    with_stores(scene(play))


async def free_port() -> int:
    """A port where nobody listens."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def test_what_has_no_public_address_is_left_as_it_is(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        world.pages["/inside"] = b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n"
        made = [await world.make("in", "/inside"), await world.make("gone", "/gone")]
        await world.check()
        assert await world.broken() == ["gone"]
        shown = await world.show("gone")
        world.networks = [ipaddress.ip_network("192.0.2.0/24")]  # from now on this machine is no place to ask
        jobs = await world.check()
        assert [job["attempts"] for job in jobs] == [1, 1]
        assert await world.show("in") == made[0]
        assert await world.show("gone") == shown, "nor is it mended"

    with_stores(scene(play))


def test_another_target_takes_away_what_was_known(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        slugs = ("patched", "batched", "same", "titled", "back")
        for slug in slugs:
            await world.make(slug, "/gone")
        await world.check()
        assert await world.broken() == sorted(slugs)
        client, other = world.api.client, {"target": f"{world.url}/other"}
        answer = await client.patch("/api/v1/links/patched", json=other)
        assert answer.json()["broken"] is None
        assert set((await world.entries("patched"))[0]["fields"]) == {"target", "broken"}
        rows = [{"slug": "batched", **other}, {"slug": "same", "target": f"{world.url}/gone", "title": "T"}]
        answer = await client.patch("/api/v1/links/batch", json={"links": rows})
        assert [row["link"]["broken"] is None for row in answer.json()["results"]] == [True, False]
        assert "broken" not in await world.row("batched")
        await client.patch("/api/v1/links/titled", json={"title": "T", "tags": ["t"], "state": "disabled"})
        assert (await client.delete("/api/v1/links/back")).status_code == 204
        assert await world.broken() == ["same", "titled"]
        restored = (await client.post("/api/v1/links/back/restore")).json()
        assert restored["broken"] is not None, "it leads where it led"
        assert await world.broken() == ["back", "same", "titled"]

    with_stores(scene(play))


def test_another_link_of_the_same_slug_is_not_broken(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        await world.make("a", "/gone")
        await world.check()
        assert (await world.api.client.delete("/api/v1/links/a")).status_code == 204
        assert (await world.make("a", "/gone"))["broken"] is None
        assert await world.broken() == []
        assert "broken" not in await world.row("a")

    with_stores(scene(play, BOLTLINK_DELETED_KEPT="0s"))


def test_who_changes_a_link_meanwhile_is_right(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        client = world.api.client
        for slug in ("raced", "moved", "gone", "stopped", "taken"):
            await world.make(slug, f"/{slug}")
        await world.ask()
        await client.patch("/api/v1/links/moved", json={"target": f"{world.url}/other"})
        await client.patch("/api/v1/links/stopped", json={"state": "disabled"})
        for slug in ("gone", "taken"):
            await client.delete(f"/api/v1/links/{slug}")
        await world.make("taken", "/taken")

        async def change() -> None:
            answer = await client.patch("/api/v1/links/raced", json={"notes": str(len(world.asked))})
            assert answer.status_code == 200

        world.meanwhile = change
        async with world.working():
            jobs = await world.over()
        assert {job["payload"]["key"]: job["error"] for job in jobs} == {
            "/gone": "the link is gone",
            "/moved": "the link leads elsewhere",
            "/raced": "the link was changed meanwhile",
            "/stopped": "the link leads nowhere now",
            "/taken": "the link is gone",
        }
        assert set(world.asked) == {"/raced"}
        assert await world.broken() == []

    with_stores(scene(play, BOLTLINK_DELETED_KEPT="0s"))


def test_a_look_whose_program_was_killed_counts_as_none(with_stores: Callable[..., None]) -> None:
    """Else three kills and one 404 would break a link."""

    async def play(world: World) -> None:
        link = await world.make("a", "/a")
        services = world.api.services
        pages = PageReader(Guard(world.networks), answer_s=2.0, bytes_max=0)
        checker = Checker(services.catalog, services.audit, pages, is_on=True)
        number = (await world.row("a"))["link"]
        job = CheckJob("/a", number, mark_of(link["target"]))
        claimed = Claimed("x", KIND, "h/check", "", ATTEMPTS_MAX - 1, "r", ATTEMPTS_MAX - 1, {})
        task = Task(claimed, 1e18, lambda: 0.0)
        with pytest.raises(RetryError) as again:
            await checker.check(job, task)
        assert again.value.note["failures"] == 1
        assert (await world.show("a"))["broken"] is None

    with_stores(scene(play))


def test_a_machine_that_cannot_ask_says_nothing_of_a_page(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        async def look_up(host: str, port: int) -> Sequence[Address]:
            raise (
                UnaskedNameError("Temporary failure in name resolution") if host == "a.example" else OSError("no name")
            )

        world.lookup = look_up
        made = await world.make("a", "", target="http://a.example/")
        await world.make("b", "", target="http://b.example/")
        jobs = await world.check()
        assert [(job["attempts"], job["note"]["failures"]) for job in jobs] == [
            (ATTEMPTS_MAX, 0),
            (FAIL_LOOKS, FAIL_LOOKS),
        ]
        assert await world.show("a") == made
        assert (await world.show("b"))["broken"]["reason"] == "no name"

    with_stores(scene(play))


def test_nothing_is_asked_where_checks_are_off(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        await world.make("a", "/a")
        (job,) = await world.check(is_on=False)
        assert job["error"] == "checks are off"
        assert world.asked == []

    with_stores(scene(play))


def test_what_is_done_is_forgotten_within_the_hour(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        world.pages["/a"] = FINE
        await world.make("a", "/a")
        (job,) = await world.check()
        assert job["state"] == JobState.DONE.value
        assert (job["forget"] - job["due"]).total_seconds() == KEPT_S

    with_stores(scene(play))


def test_two_programs_that_look_at_once_break_a_link_once(with_stores: Callable[..., None]) -> None:
    async def play(world: World) -> None:
        await world.make("a", "/a")
        await world.ask()
        await world.api.stores.database[JOBS].update_one(
            {}, {"$set": {"note": {"gone": GONE_LOOKS - 1, "failures": GONE_LOOKS - 1, "since": 5}}}
        )
        row = await world.api.stores.database[JOBS].find_one({})
        assert row is not None
        await world.api.stores.database[JOBS].insert_one({**row, "_id": "again"})
        async with world.working(lane_max=2):
            await world.over()
        told = await world.api.stores.database[AUDIT].count_documents({"what": "link.broken"})
        assert told == 1
        assert (await world.show("a"))["broken"]["since"] == "1970-01-01T00:00:05Z"
        assert world.pages.get("/a", GONE) == GONE

    with_stores(scene(play))
