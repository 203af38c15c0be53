"""A shortener as Tornado's documentation would have it: one handler, one dictionary; nothing is counted."""

import asyncio
import sys

import uvloop
from tornado import web

LINKS = {f"b{n}": f"https://example.com/page/{n}" for n in range(int(sys.argv[2]))}


class Redirect(web.RequestHandler):
    """Answers a slug."""

    def get(self, slug: str) -> None:
        target = LINKS.get(slug)
        if target is None:
            raise web.HTTPError(404)
        self.set_header("Cache-Control", "private, no-store")
        self.redirect(target)


async def main() -> None:
    """Serves until it is ended."""
    application = web.Application([(r"/([\w-]+)", Redirect)], log_function=lambda handler: None)
    application.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


uvloop.run(main())
