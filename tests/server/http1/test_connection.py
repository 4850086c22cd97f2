"""A connection from its first byte to its last, over real sockets, in clear and under TLS."""

from __future__ import annotations

import logging
import random
import socket
import ssl
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.http1.conftest import GET, PATIENCE, Client, answer, hello, read_body, serving
from tests.server.http1.test_parsing import PIECES, REFUSED
from trioweb.server.wire.writing import IN_A_ROW

Tls = tuple[str, ssl.SSLContext] | None

POST = b"POST / HTTP/1.1\r\nHost: x\r\n"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body."""
    await answer(send, await read_body(receive))


async def test_an_app_that_listens_and_goes_on_holds_nothing_up(tls: Tls) -> None:
    """The next request is answered also where a task of the last one's waited for its client when it was answered."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with trio.open_nursery() as nursery:
            await receive()
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await answer(send, b"hello")
            await trio.sleep_forever()

    async with serving(app, tls, graceful_timeout=0.1) as site:
        client = await site.connect()
        for _ in range(3):
            assert (await client.ask(GET)).endswith(b"hello")


async def test_requests_share_no_context_variables() -> None:
    """What an app sets in one request, the next one on the connection does not see, come alone or in a pipeline."""
    variable = ContextVar("variable", default=b"unset")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        before = variable.get()
        variable.set(b"set")
        await trio.sleep(0)
        await answer(send, before + b" " + variable.get())

    async with serving(app) as site:
        client = await site.connect()
        for _ in range(2):
            assert (await client.ask(GET)).endswith(b"unset set")
        await client.send(3 * GET)
        for _ in range(3):
            await client.until(b"unset set")


async def test_requests_share_a_connection(tls: Tls) -> None:
    """One connection carries one request after the other."""
    async with serving(hello, tls) as site:
        client = await site.connect()
        for number in range(3):
            path = b"/%d" % number
            assert (await client.ask(GET.replace(b"/ ", path + b" "))).endswith(b"\r\n\r\n" + path)


async def test_requests_that_come_together_are_answered_in_order(tls: Tls) -> None:
    """Requests that come before the first is answered are kept, and answered one after the other."""

    async def slow_first(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/0":
            with trio.move_on_after(0.05):  # meanwhile what comes next is taken in, and is no message to this one
                await receive()
                raise AssertionError(await receive())
        await hello(scope, receive, send)

    async with serving(slow_first, tls) as site:
        client = await site.connect()
        await client.send(b"".join(GET.replace(b"/ ", b"/%d " % number) for number in range(4)))
        for number in range(4):
            await client.until(b"\r\n\r\n/%d" % number)


async def test_a_small_response_is_one_write() -> None:
    """Head and body of a small response leave together."""
    async with serving(hello) as site:
        client = await site.connect()
        await client.send(GET)
        assert bytes(await client.stream.receive_some(65536)).endswith(b"\r\n\r\n/")


@pytest.mark.parametrize("cut", [1, 10, 30, 45, 50, 70])
async def test_a_request_may_come_in_pieces(cut: int) -> None:
    """A request that comes in two packets is one request."""
    data = POST + b"Content-Length: 11\r\n\r\nhello world"
    async with serving(echo) as site:
        client = await site.connect()
        await client.send(data[:cut])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await client.ask(data[cut:])).endswith(b"\r\n\r\nhello world")


async def test_bodies_come_when_they_are_asked_for(tls: Tls) -> None:
    """An app that does not ask for a body holds its client up: no more than the system's buffers is on the way."""
    go_on = trio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await echo(scope, receive, send)

    size = 32 * 2**20
    async with serving(slow, tls) as site:
        client = await site.connect()
        sent = 0
        await client.send(POST + b"Content-Length: %d\r\n\r\n" % size)
        with trio.move_on_after(0.3):
            while sent < size:
                await client.send(bytes(65536))
                sent += 65536
        assert sent < size
        await client.leave()
        go_on.set()


async def test_chunked_bodies_arrive_whole(tls: Tls) -> None:
    """A body in chunks, cut anywhere, arrives as it was."""
    data = random.Random(1).randbytes(300_000)
    coded = b"".join(b"%x\r\n%b\r\n" % (len(data[i : i + 7001]), data[i : i + 7001]) for i in range(0, len(data), 7001))
    async with serving(echo, tls) as site:
        client = await site.connect()
        for _ in range(2):
            found = await client.ask(POST + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n")
            assert found.partition(b"\r\n\r\n")[2] == data


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 5_000_000])
async def test_responses_of_all_sizes_arrive_whole(tls: Tls, size: int) -> None:
    """A response is written whole, in one part or in several, also where the system takes only some of it."""
    body = random.Random(2).randbytes(size)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/whole":
            await answer(send, body)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        for begin in range(0, size, 100_000):
            await send({"type": "http.response.body", "body": body[begin : begin + 100_000], "more_body": True})
        await send({"type": "http.response.body"})

    async with serving(app, tls) as site:
        client = await site.connect()
        for path in (b"/whole", b"/parts"):
            found = await client.ask(GET.replace(b"/ ", path + b" "))
            assert found.partition(b"\r\n\r\n")[2] == body


async def test_a_head_without_a_body_yet_leaves_with_an_empty_part() -> None:
    """A head waits for the first part of the body, and leaves with it though that is empty."""
    go_on = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"x"})

    async with serving(app) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        go_on.set()
        await client.until(b"1\r\nx\r\n0\r\n\r\n")


# Refusals


@pytest.mark.parametrize("shape", REFUSED)
async def test_what_is_refused_is_answered_and_closed(shape: str) -> None:
    """A request that is refused is answered with its status, and nothing behind it is read; no app hears of it."""
    data, status = REFUSED[shape]
    async with serving(echo, h11_max_incomplete_size=4096, head_timeout=0.3) as site:
        client = await site.connect()
        with trio.fail_after(PATIENCE):
            await client.send(data + GET)
            found = await client.rest()
        if shape == "many fields":  # which is about a limit that is larger here
            assert found.startswith(b"HTTP/1.1 200")
            return
        assert found.startswith(b"HTTP/1.1 %d " % status)
        assert found.count(b"\r\n\r\n") == 1
        assert b"connection: close\r\n" in found


async def test_too_many_fields_are_refused() -> None:
    """A head of few bytes and many fields is refused."""
    async with serving(hello) as site:
        client = await site.connect()
        await client.send(GET[:-2] + b"a:\r\n" * 300 + b"\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 431 ")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join)), max_size=4))
def test_garbage_ends_in_a_refusal_or_a_close(packets: list[bytes]) -> None:
    """Whatever a client sends, it reads whole responses, and the worker serves the next client."""

    async def main() -> None:
        async with serving(echo, head_timeout=0.1, body_timeout=0.1, keep_alive_timeout=0.1) as site:
            client = await site.connect()
            try:
                for packet in packets:
                    await client.send(packet)
                    await trio.sleep(0)
                found = await client.rest()
            except trio.BrokenResourceError:
                found = b""
            if not b"".join(packets).lstrip(b"\r\n").startswith(b"PRI "):  # HTTP/2; empty lines before it do not count
                assert found == b"" or found.startswith((b"HTTP/1.1 200", b"HTTP/1.1 4", b"HTTP/1.1 5", b"HTTP/1.1 1"))
            other = await site.connect()
            assert (await other.ask(POST + b"Content-Length: 1\r\n\r\na")).endswith(b"a")

    trio.run(main)


# The client that leaves, or is late


async def test_one_who_waits_in_receive_hears_that_the_client_left(tls: Tls) -> None:
    """An app that neither reads nor writes, but waits, is told of the client's leaving; then nothing can be sent."""
    heard = trio.Event()
    refused: list[Exception] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert await receive() == {"type": "http.disconnect"}
        assert await receive() == {"type": "http.disconnect"}
        try:
            await answer(send, b"late")
        except OSError as error:
            refused.append(error)
        heard.set()

    async with serving(app, tls) as site:
        client = await site.connect()
        await client.send(GET)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await client.leave()
        with trio.fail_after(PATIENCE):
            await heard.wait()
    assert len(refused) == 1


async def test_a_client_that_leaves_in_a_stream_makes_send_fail(tls: Tls, caplog: pytest.LogCaptureFixture) -> None:
    """An app that only writes learns from an OSError that its client has left; that is no fault to log."""
    failed = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        except OSError:
            failed.set()
            raise

    async with serving(app, tls) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        await client.leave()
        with trio.fail_after(PATIENCE):
            await failed.wait()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_receive_and_send_may_run_in_different_tasks(tls: Tls) -> None:
    """One task waits for the disconnect while another streams; after the response, the first one is told it is over."""
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def listen() -> None:
            kind = ""
            while kind != "http.disconnect":
                kind = (await receive())["type"]
                told.append(kind)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(listen)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(3):
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                await trio.sleep(0.01)
            await send({"type": "http.response.body"})

    async with serving(app, tls) as site:
        client = await site.connect()
        for _ in range(2):
            await client.send(GET)
            await client.until(b"0\r\n\r\n")
            with trio.fail_after(PATIENCE):
                while told.count("http.disconnect") < 2:
                    await trio.sleep(0.01)
            assert sorted(told) == ["http.disconnect", "http.disconnect", "http.request"]
            told.clear()


async def test_a_cancelled_receive_loses_nothing(tls: Tls) -> None:
    """Whoever gives up waiting for a body, again and again, gets all of it in the end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            with trio.move_on_after(0.001):
                message = await receive()
                body += message["body"]
                more = message["more_body"]
        await answer(send, body)

    data = random.Random(3).randbytes(200_000)
    async with serving(app, tls) as site:
        client = await site.connect()
        await client.send(POST + b"Content-Length: 200000\r\n\r\n")
        for begin in range(0, len(data), 20_000):
            await client.send(data[begin : begin + 20_000])
            await trio.sleep(0.004)
        assert (await client.ask(b"")).partition(b"\r\n\r\n")[2] == data


async def test_a_write_that_was_interrupted_ends_the_connection(tls: Tls) -> None:
    """A cancellation reaches a write, and nothing is written behind what it has torn."""
    after: list[Exception] = []
    done = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with trio.move_on_after(0.2) as scope_:
            await send({"type": "http.response.body", "body": bytes(50_000_000), "more_body": True})
        assert scope_.cancelled_caught
        try:
            await send({"type": "http.response.body", "body": b"END"})
        except OSError as error:
            after.append(error)
        done.set()

    async with serving(app, tls) as site:
        client = await site.connect()
        await client.send(GET)
        with trio.fail_after(PATIENCE):
            await done.wait()
        with suppress(trio.BrokenResourceError):
            assert not (await client.rest()).endswith(b"0\r\n\r\n")
    assert len(after) == 1


async def test_a_cancelled_message_that_was_not_begun_is_not_sent() -> None:
    """A cancellation ahead of a part of a stream is raised there, and the connection is as whole as before."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            await send({"type": "http.response.body", "body": b"no", "more_body": True})
        await send({"type": "http.response.body", "body": b"yes"})

    async with serving(app) as site:
        client = await site.connect()
        assert (await client.ask(GET)).endswith(b"yes")
        assert (await client.ask(GET)).endswith(b"yes")


async def test_a_stream_lets_others_run() -> None:
    """An app that sends and sends, to a client that takes it all, does not keep other connections waiting."""
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["path"] != "/stream":
            await hello(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            sent += 1

    async def drain(client: Client) -> None:
        while await client.stream.receive_some(1 << 20):
            pass

    async with serving(app) as site, trio.open_nursery() as nursery:
        client = await site.connect()
        await client.send(GET.replace(b"/ ", b"/stream "))
        nursery.start_soon(drain, client)
        with trio.fail_after(PATIENCE):
            other = await site.connect()
            await other.ask(GET)
        assert sent > IN_A_ROW
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("sent", "options", "expected"),
    [
        (b"GET / HT", {"head_timeout": 0.2}, b"HTTP/1.1 408 "),
        (b"", {"head_timeout": 0.2}, b""),
        (GET, {"keep_alive_timeout": 0.2}, b"HTTP/1.1 200 "),
        (GET + b"GE", {"head_timeout": 0.2}, b"HTTP/1.1 200 "),
        (GET, {"read_timeout": 0.2}, b"HTTP/1.1 200 "),
        (POST + b"Content-Length: 5\r\n\r\nabc", {"body_timeout": 0.2}, b"HTTP/1.1 408 "),
        (POST + b"Content-Length: 5\r\n\r\nabc", {"read_timeout": 0.2}, b"HTTP/1.1 408 "),
    ],
    ids=["head", "nothing", "idle", "second head", "silence", "body", "silent body"],
)
async def test_a_client_that_is_late_is_not_waited_for(
    tls: Tls, sent: bytes, options: dict[str, float], expected: bytes
) -> None:
    """What does not come in its time ends the connection, with a 408 where something was begun."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await hello(scope, receive, send)

    async with serving(app, tls, **options) as site:
        client = await site.connect()
        await client.send(sent)
        found = await client.rest()
        assert found.startswith(expected)
        assert (b"408" in found) == (b"408" in expected or sent.endswith(b"GE"))
        assert bool(found) == bool(expected)


# Bodies that nobody wants


@pytest.mark.parametrize("framing", [b"Content-Length: 200000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_short_body_that_nobody_reads_is_read_away(tls: Tls, framing: bytes) -> None:
    """After an early answer a body of some size is thrown away, and the connection goes on."""
    body = b"x" * 200_000
    if b"chunked" in framing:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with serving(hello, tls) as site:
        client = await site.connect()
        for _ in range(2):
            assert (await client.ask(POST + framing + body)).endswith(b"\r\n\r\n/")


async def test_a_long_body_that_nobody_reads_ends_the_connection(tls: Tls) -> None:
    """After an early answer to a long upload the connection is closed, and the client reads the whole answer."""
    size = 4_000_000
    async with serving(hello, tls) as site:
        client = await site.connect()
        await client.send(POST + b"Content-Length: %d\r\n\r\n" % size)
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                await client.send(bytes(size))

            nursery.start_soon(upload)
            found = await client.rest()
        assert found.endswith(b"\r\n\r\n/")
        assert b"connection: close\r\n" in found


async def test_100_continue_is_sent_only_when_the_body_is_asked_for() -> None:
    """A client that waits with its body gets its word when the app asks; else the answer, and the end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (echo if scope["path"] == "/read" else hello)(scope, receive, send)

    head = b"POST %b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    async with serving(app) as site:
        client = await site.connect()
        await client.send(head % b"/read")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await client.ask(b"hello")).endswith(b"\r\n\r\nhello")
        assert (await client.ask(head % b"/read" + b"hello")).startswith(b"HTTP/1.1 200 ")  # it did not wait
        await client.send(head % b"/read" + b"he")  # nor does this one
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert (await client.ask(b"llo")).startswith(b"HTTP/1.1 200 ")
        await client.send(head % b"/early")
        found = await client.rest()
        assert found.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close\r\n" in found


# Apps that fail, or go on


@pytest.mark.parametrize("kind", ["raises", "returns", "raises after the head", "sends too much", "exits"])
async def test_an_app_that_does_not_answer_is_a_500(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Before a byte of the response has left, whatever goes wrong is a 500, and others are served on."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/ok":
            await hello(scope, receive, send)
            return
        if kind == "raises after the head":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if kind == "sends too much":
            await answer(send, b"four", (b"content-length", b"3"))
        if kind == "exits":
            raise SystemExit(1)
        if kind != "returns":
            raise ValueError("as asked")

    async with serving(app) as site:
        client = await site.connect()
        await client.send(GET)
        assert (await client.rest()).startswith(b"HTTP/1.1 500 ")
        other = await site.connect()
        assert (await other.ask(GET.replace(b"/ ", b"/ok "))).endswith(b"/ok")
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == (kind != "returns")


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("kind", ["raises", "returns"])
async def test_a_broken_response_does_not_look_whole(version: str, kind: str) -> None:
    """A response that is not finished ends without its last chunk; where its end would be that, with a reset."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await trio.sleep(0.05)
        if kind == "raises":
            raise ValueError("as asked")

    async with serving(app) as site:
        client = await site.connect()
        await client.send(b"GET / HTTP/%b\r\nHost: x\r\n\r\n" % version.encode())
        await client.until(b"half")
        if version == "1.0":
            with pytest.raises(trio.BrokenResourceError):
                await client.rest()
        else:
            assert await client.rest() == b"\r\n"


async def test_an_app_that_goes_on_after_its_response_holds_up_nothing(tls: Tls) -> None:
    """The next request on the connection is answered while the app of the last one still works; a stop waits for it."""
    go_on, ended = trio.Event(), trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)
        if scope["path"] == "/":
            await go_on.wait()
            ended.set()

    async with serving(app, tls) as site:
        client = await site.connect()
        for _ in range(2):
            assert (await client.ask(GET)).endswith(b"/")
        assert (await client.ask(GET.replace(b"/ ", b"/last "))).endswith(b"/last")
        assert not ended.is_set()
        site.worker.stop()
        await trio.testing.wait_all_tasks_blocked(0.05)
        go_on.set()
        with trio.fail_after(PATIENCE):
            await ended.wait()


async def test_a_connection_outlives_the_app_that_went_on(tls: Tls) -> None:
    """When the app of an earlier request returns, the connection is served on."""
    go_on, ended = trio.Event(), trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)
        if scope["path"] == "/":
            await go_on.wait()
            ended.set()

    async with serving(app, tls) as site:
        client = await site.connect()
        assert (await client.ask(GET)).endswith(b"/")
        assert (await client.ask(GET.replace(b"/ ", b"/second "))).endswith(b"/second")
        go_on.set()
        await ended.wait()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert (await client.ask(GET.replace(b"/ ", b"/third "))).endswith(b"/third")


async def test_many_requests_at_once_do_not_keep_others_waiting() -> None:
    """A client that sends requests without reading their answers first takes turns with others."""
    paths: list[str] = []
    other = socket.socket()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        if len(paths) == 2:
            other.sendall(GET.replace(b"/ ", b"/other "))
        await hello(scope, receive, send)

    count = 1000
    async with serving(app) as site:
        with other:
            other.connect(("127.0.0.1", site.port))
            await trio.testing.wait_all_tasks_blocked(0.05)
            client = await site.connect()
            await client.send(GET * count)
            with trio.fail_after(PATIENCE):
                while len(paths) < count + 1:
                    await trio.sleep(0.001)
    assert paths.index("/other") < 20


# Stopping


async def test_an_idle_connection_ends_with_the_server(tls: Tls) -> None:
    """A connection on which nothing is under way is closed at once when the server stops."""
    async with serving(hello, tls, keep_alive_timeout=60, graceful_timeout=60) as site:
        fresh = await site.connect()
        used = await site.connect()
        await used.ask(GET)
        await trio.testing.wait_all_tasks_blocked(0.05)
        site.worker.stop()
        assert await fresh.rest() == b""
        assert await used.rest() == b""


async def test_a_request_under_way_is_the_last(tls: Tls) -> None:
    """A request that is being answered when the server stops is answered, and told that it was the last."""
    begun, go_on = trio.Event(), trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await hello(scope, receive, send)

    async with serving(app, tls, graceful_timeout=PATIENCE) as site:
        client = await site.connect()
        await client.send(GET)
        await begun.wait()
        site.worker.stop()
        await trio.testing.wait_all_tasks_blocked(0.05)
        go_on.set()
        found = await client.rest()
        assert found.endswith(b"/")
        assert b"connection: close\r\n" in found


async def test_what_takes_too_long_is_broken_off(tls: Tls) -> None:
    """When the graceful timeout is over a request is cancelled, though it hangs in a write to a client that is deaf."""
    cancelled = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await send({"type": "http.response.body", "body": bytes(50_000_000), "more_body": True})
        except BaseException:
            cancelled.set()
            raise

    async with serving(app, tls, graceful_timeout=0.1) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        site.worker.stop()
        with trio.fail_after(PATIENCE):
            await cancelled.wait()


# What the configuration says


async def test_requests_per_connection_and_worker_have_limits() -> None:
    """After so many requests a connection is closed; after so many more the worker stops."""
    async with serving(hello, keep_alive_max_requests=2, max_requests=3) as site:
        client = await site.connect()
        assert b"connection: close" not in await client.ask(GET)
        assert b"connection: close" not in await client.ask(GET)
        assert b"connection: close" in await client.ask(GET)
        client = await site.connect()
        await client.send(GET)
        assert (await client.rest()).startswith(b"HTTP/1.1 200 ")
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    await (await site.connect()).leave()
                    await trio.sleep(0.01)
                except OSError:
                    break
                if site.worker._stop.is_set():
                    break


async def test_only_named_servers_are_served() -> None:
    """With names given, a request for another host is a 404 that no app hears of."""
    async with serving(hello, server_names=["x"]) as site:
        client = await site.connect()
        assert (await client.ask(GET)).startswith(b"HTTP/1.1 200 ")
        assert (await client.ask(GET.replace(b"Host: x", b"Host: y"))).startswith(b"HTTP/1.1 404 ")


async def test_headers_of_the_server_can_be_left_out() -> None:
    """Date and server are sent unless they are not wanted."""
    async with serving(hello) as site:
        found = await (await site.connect()).ask(GET)
        assert b"\r\ndate: " in found
        assert b"\r\nserver: trioweb\r\n" in found
    async with serving(hello, include_date_header=False, include_server_header=False) as site:
        found = await (await site.connect()).ask(GET)
        assert b"\r\ndate: " not in found
        assert b"\r\nserver: " not in found


async def test_the_access_log_tells_of_every_request(caplog: pytest.LogCaptureFixture) -> None:
    """Each request is a line: whole responses, refusals by the server, and requests whose client has left."""
    logger = logging.getLogger("test.access")
    caplog.set_level(logging.INFO)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fail":
            return
        if scope["path"] == "/leave":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        if scope["path"] == "/large":
            await answer(send, bytes(20_000_000))
            return
        await hello(scope, receive, send)

    form = "%(m)s %(Uq)s %(s)s %(b)s%(note)s"
    async with serving(app, accesslog=logger, access_log_format=form) as site:
        for path in (b"/a?b", b"/fail", b"/leave", b"/large"):
            client = await site.connect()
            await client.send(GET.replace(b"/ ", path + b" "))
            if path in (b"/leave", b"/large"):
                await trio.testing.wait_all_tasks_blocked(0.05)
                await client.leave()
            else:
                await client.until(b"\r\n\r\n")
        with trio.fail_after(PATIENCE):
            while len([record for record in caplog.records if record.name == "test.access"]) < 4:
                await trio.sleep(0.01)
    lines = [record.getMessage() for record in caplog.records if record.name == "test.access"]
    assert lines == [
        "GET /a?b 200 -",
        "GET /fail 500 67",
        "GET /leave - -, the client left",
        "GET /large 200 -, the client left",
    ]


async def test_the_scope_says_all_that_asgi_asks_for(tls: Tls) -> None:
    """The scope of a request has what ASGI 2.4 names, decoded as it says."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await hello(scope, receive, send)

    async with serving(app, tls, root_path="/root") as site:
        client = await site.connect()
        await client.ask(b"GET /a%20%C3%BC?q=%20 HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\nTE: trailers\r\n\r\n")
        (scope,) = scopes
        extensions = scope.pop("extensions")
        assert sorted(extensions) == [
            "http.response.early_hint", "http.response.pathsend", "http.response.trailers", "trioweb",
        ]  # fmt: skip
        assert scope.pop("client")[0] == "127.0.0.1"
        assert scope.pop("server") == ("127.0.0.1", site.port)
        assert scope == {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": "GET", "scheme": "http" if tls is None else "https", "path": "/a \u00fc",
            "raw_path": b"/a%20%C3%BC", "query_string": b"q=%20", "root_path": "/root",
            "headers": [(b"host", b"x"), (b"x-a", b"1"), (b"x-a", b"2"), (b"te", b"trailers")], "state": {},
        }  # fmt: skip
