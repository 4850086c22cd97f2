"""What takes a typed body in, as a user of FastAPI writes it."""

import importlib
from typing import Any

# By name, so that type checkers do without the packages. No future annotations: FastAPI would look for them elsewhere.
fastapi: Any = importlib.import_module("fastapi")
pydantic: Any = importlib.import_module("pydantic")

app = fastapi.FastAPI()


class Order(pydantic.BaseModel):  # type: ignore[misc]
    """A JSON body of ten fields."""

    id: int
    customer: str
    city: str
    street: str
    amount: float
    count: int
    express: bool
    note: str | None
    tags: list[str]
    position: dict[str, float]


@app.post("/order")  # type: ignore[untyped-decorator]
async def take(order: Order) -> dict[str, object]:
    """Take a typed JSON body."""
    return {"id": order.id, "total": order.amount * order.count}
