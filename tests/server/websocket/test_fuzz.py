"""A short run of the fuzzer, and its scripts against a server."""

from __future__ import annotations

import random

import pytest
import trio

from tests.server.running import serving
from tests.server.websocket.fuzz import LIMIT, check, script
from tests.server.websocket.wire import closing, dialled, echo, exchange, frame, send_in_pieces
from tests.servers import PATIENCE


@pytest.mark.parametrize("start", range(0, 3000, 300))
def test_what_is_found_does_not_depend_on_the_cuts(start: int) -> None:
    """Frames are the same however their bytes are cut, and what breaks the protocol does so at the same one."""
    for seed in range(start, start + 300):
        check(seed)


@pytest.mark.parametrize("compression", [False, True])
async def test_a_server_lives_on(compression: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a client sends ends its own connection alone; nothing is logged as an error of the server."""
    offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if compression else ""
    options = {"websocket_compression": compression, "websocket_max_message_size": LIMIT}
    async with serving(echo, **options) as running:
        for seed in range(60):
            with trio.fail_after(PATIENCE):
                async with dialled(running, fields=offer) as client:
                    await send_in_pieces(client, script(random.Random(seed)), 1 + seed * 50)
                    if seed % 2:
                        await client.send_eof()
                        async for _ in client:
                            pass
        found = await exchange(running, frame(1, b"alive"), closing(), fields=offer)
        assert found == [(0x81, b"alive"), (0x88, b"\x03\xe8")]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
