"""A page that arrives in pieces: what is known is shown while the rest is still being worked out."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Final

import trio

from examples.tour.table import CITIES, PATH
from examples.tour.visits import Visit
from trioweb import HTMLResponse, Request, Router

PAUSE: Final = 0.4
"""Seconds that each piece takes longer than its query, which would be over too soon to watch."""
PADDING: Final = 1024
"""Bytes that some browsers want to have before they show anything."""

HEAD: Final = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>Sales by city</title>
<!-- {" " * PADDING} -->
<style>
  body {{ margin: 0; font: 13px/17px system-ui, sans-serif; color: light-dark(#1d2430, #e6e9ef) }}
  .piece {{ display: grid; grid-template-columns: 5em 1fr 5em; gap: 8px; margin-bottom: 3px }}
  .piece i {{ border-radius: 3px; background: light-dark(#08706b, #3ac4b7); animation: grow .3s }}
  .piece b {{ font-weight: 500; text-align: right; font-variant-numeric: tabular-nums }}
  @keyframes grow {{ from {{ width: 0 }} }}
  @media (prefers-reduced-motion: reduce) {{ .piece i {{ animation: none }} }}
</style>
"""

router = Router()


def sales(city: str) -> float:
    """What was sold in a city. Reads the whole table."""
    with closing(sqlite3.connect(f"{PATH.as_uri()}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT sum(quantity * price) FROM orders WHERE city = ?", [city]).fetchone()
    return float(found[0])


async def pieces(visit: Visit) -> AsyncIterator[str]:
    """The head of the page at once, then each city when its query is done. HTML needs no closing tags."""
    with visit:
        yield HEAD
        most = None
        for city in CITIES:
            sold = await trio.to_thread.run_sync(sales, city)
            most = most or sold
            await trio.sleep(PAUSE)
            visit.step()
            bar = f'<i style="width: {sold / most:.0%}"></i>'
            yield f'<div class="piece">{city}{bar}<b>€ {sold / 1000:,.0f} k</b></div>\n'
        yield '<i id="whole" hidden></i>'


@router.get("/pieces")
async def page_in_pieces(request: Request) -> HTMLResponse:
    """The page."""
    visit = Visit(request, "page in pieces", "pieces", b"</div>")
    return HTMLResponse(pieces(visit), headers=visit.headers | {"x-total": str(len(CITIES))})
