"""`boltlink qr`: a short URL as a QR code, in the terminal or as a drawing."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from app.cli.client import Client, path_of
from app.cli.fields import DOMAIN, query_of
from app.cli.talk import JSON, say
from app.qr import QUIET, Rows, draw_svg, encode

__all__ = ["qr"]

_HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


@click.command(epilog="Example: boltlink qr sale --svg sale.svg")
@click.argument("slug")
@DOMAIN
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Write a drawing instead, for print.")
@JSON
def qr(slug: str, domain: str, svg: Path | None, as_json: bool) -> None:
    """Show the short URL of SLUG as a QR code."""
    short_url = Client().call("GET", path_of("links", slug), params=query_of(domain))["short_url"]
    rows = encode(short_url)
    if svg is not None:
        svg.write_text(draw_svg(short_url))
    if as_json or svg is not None:
        found = {"short_url": short_url, "rows": [[int(is_dark) for is_dark in row] for row in rows]}
        say(as_json, found, f"{svg} leads to {short_url}")
        return
    for line in lines_of(rows):
        # A camera wants dark on light, whatever the colours of a terminal are.
        click.echo(click.style(line, fg="black", bg="bright_white") if sys.stdout.isatty() else line)
    click.echo(short_url)


def lines_of(rows: Rows) -> list[str]:
    """Two rows of modules a line, with the quiet zone."""
    side, width = [False] * QUIET, len(rows) + 2 * QUIET
    framed = [[False] * width] * QUIET + [side + row + side for row in rows] + [[False] * width] * (QUIET + 1)
    return [
        "".join(_HALVES[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(framed[::2], framed[1::2], strict=True)
    ]
