"""The routes as a user of Spikard writes them, as far as it has them; run as a program."""

# No future annotations: Spikard would look for the names elsewhere.
import importlib
from typing import Any

from tests.benchmarks.apps.producers import Order
from tests.benchmarks.apps.settings import ROUTES
from tests.benchmarks.payload import GREETING

# By name, so that type checkers do without the package. It serves where SPIKARD_SERVER_PORT says: its own configuration
# of a port has no effect in 0.17.
spikard: Any = importlib.import_module("spikard")

app = spikard.App()


class Text:
    """A response that is not JSON."""

    def __init__(self, content: str) -> None:
        self.content = content
        self.status_code = 200
        self.headers = {"content-type": "text/plain; charset=utf-8"}


@app.get("/")  # type: ignore[untyped-decorator]
async def greet() -> Any:
    """A small response."""
    return Text(GREETING)


@app.post("/order")  # type: ignore[untyped-decorator]
async def order(order: Order) -> Any:
    """Take a typed JSON body."""
    return {"id": order.id, "total": order.amount * order.count}


def add_section(number: int) -> None:
    """Add one of many routes."""

    @app.get(f"/section{number}/items/{{item:int}}")  # type: ignore[untyped-decorator]
    async def read(item: int) -> Any:
        return Text(f"{number} {item}")


for number in range(ROUTES):
    add_section(number)

if __name__ == "__main__":
    app.run()
