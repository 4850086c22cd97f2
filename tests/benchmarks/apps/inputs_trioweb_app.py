"""What takes bodies in, as a user of trioweb writes it."""

from __future__ import annotations

import msgspec

from trioweb import App, Request, UploadFile

app = App(max_body_size=2**31)


class Order(msgspec.Struct):
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


@app.post("/count")
async def count(request: Request) -> str:
    """Count the bytes of a body as they come."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return str(size)


@app.post("/form")
async def form(request: Request) -> str:
    """Take a form whole, and count what is in it."""
    form = await request.form(max_fields=20_000)
    size = sum(value.size if isinstance(value, UploadFile) else len(value) for _, value in form.multi_items())
    return f"{len(form.multi_items())} {size}"


@app.post("/order")
async def order(order: Order) -> dict[str, object]:
    """Take a typed JSON body."""
    return {"id": order.id, "total": order.amount * order.count}


@app.post("/parts")
async def parts(request: Request) -> str:
    """Take a form as it arrives, and count what is in it."""
    count = size = 0
    async for part in request.parts():
        count += 1
        async for chunk in part:
            size += len(chunk)
    return f"{count} {size}"
