"""A pool of PostgreSQL's connections: alone, and in an app on both servers."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from itertools import count
from typing import Annotated

import psycopg
import pytest
import trio
import trio.testing

from tests.conftest import StartServer
from tests.contrib.cluster import Cluster
from tests.servers import PATIENCE, ROOT, RUNNERS, Server, read_until
from trioweb import App, HTTPError, Provide
from trioweb.contrib.postgres import PoolExhausted, PostgresConnection, PostgresPool
from trioweb.testing import TestClient

POOL = PostgresPool(limit=1)
"""Where the environment says."""


def named(postgres: Cluster, name: str) -> str:
    """How to connect under a name of one's own."""
    return f"{postgres.conninfo} application_name={name}"


async def pid_of(pool: PostgresPool) -> int:
    """The process of the session that a pool lends."""
    async with pool.connection() as connection:
        found = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
        assert found is not None
        return int(found[0])


async def test_connections_are_kept_and_bounded(postgres: Cluster) -> None:
    """What was used is used again; no more than the limit are open, and none after the pool was closed."""
    async with PostgresPool(named(postgres, "kept"), limit=3) as pool:
        pids = [await pid_of(pool) for _ in range(5)]
        assert len(set(pids)) == 1
        most = 0

        async def use() -> None:
            nonlocal most
            async with pool.connection() as connection:
                await connection.execute("SELECT pg_sleep(0.01)")
                found = await connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kept'"
                )
                row = await found.fetchone()
                assert row is not None
                most = max(most, row[0])

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(use)
        assert most == 3
    await trio.to_thread.run_sync(postgres.wait_for_sessions, "kept", 0)


async def test_who_asks_first_is_first(postgres: Cluster) -> None:
    """Connections are lent in the order of asking; who stops asking leaves nothing behind."""
    order: list[int] = []
    async with PostgresPool(postgres.conninfo, limit=1, timeout=PATIENCE) as pool:

        async def use(number: int) -> None:
            async with pool.connection():
                order.append(number)
                await trio.sleep(0)

        async with trio.open_nursery() as nursery, pool.connection():
            scopes = []
            for number in range(6):
                scope = trio.CancelScope()
                scopes.append(scope)

                async def wait(number: int = number, scope: trio.CancelScope = scope) -> None:
                    with scope:
                        await use(number)

                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
            assert "1 of 1 connections in use, 6 tasks waiting" in repr(pool)
            scopes[0].cancel()
            scopes[3].cancel()
        assert order == [1, 2, 4, 5]


async def test_an_exhausted_pool_says_so(postgres: Cluster) -> None:
    """Who waits longer than the timeout is told why, and what to do; afterwards the pool is as good as before."""
    async with PostgresPool(postgres.conninfo, limit=1, timeout=1) as pool:
        async with pool.connection():
            with pytest.raises(PoolExhausted, match=r"1 of 1 connections in use.* 1 s.*shorter.*limit="):
                async with pool.connection():
                    pass
        await pid_of(pool)


def test_without_psycopg() -> None:
    """Where psycopg is not installed, the import says what to install."""
    code = "import sys; sys.modules['psycopg'] = None; import trioweb.contrib.postgres"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 1
    assert run.stderr.endswith("trioweb.contrib.postgres needs psycopg: pip install trioweb[postgres]\n")


async def test_a_pool_that_is_not_open() -> None:
    """A pool outside of its block says what to write, and so does one that is opened twice."""
    pool = PostgresPool()
    with pytest.raises(RuntimeError, match=r"not open.*app\.lifespan\(pool\)"):
        async with pool.connection():
            pass


async def test_a_pool_is_opened_once_at_a_time(postgres: Cluster) -> None:
    """A pool that is open is not opened again, but after it was closed it is: tests do that."""
    pool = PostgresPool(postgres.conninfo)
    for _ in range(2):
        async with pool:
            with pytest.raises(RuntimeError, match="open already"):
                await pool.__aenter__()
            await pid_of(pool)


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": "a"}, {"timeout": 0}, {"timeout": None}, {"lifetime": -1}])
def test_options_out_of_range(options: dict[str, object]) -> None:
    """An option that cannot be is an error that names it."""
    with pytest.raises(ValueError, match=next(iter(options))):
        PostgresPool(**options)  # type: ignore[arg-type]


async def test_a_wrong_address_is_told_at_the_start() -> None:
    """A database that is not there is found when the pool is opened, by psycopg's own error."""
    with pytest.raises(psycopg.OperationalError, match="No such file or directory"):
        async with PostgresPool("host=/nowhere"):
            pass


async def test_what_a_block_leaves(postgres: Cluster) -> None:
    """A block is committed at its end; what an error, a cancellation or a user leaves half-way is rolled back."""
    async with PostgresPool(postgres.conninfo, limit=1) as pool:
        async with pool.connection() as connection:
            await connection.execute("CREATE TABLE left_by (n int)")
            await connection.execute("INSERT INTO left_by VALUES (1)")
        with pytest.raises(ZeroDivisionError):
            async with pool.connection() as connection:
                await connection.execute("INSERT INTO left_by VALUES (2)")
                raise ZeroDivisionError
        with trio.CancelScope() as scope:
            async with pool.connection() as connection:
                await connection.execute("INSERT INTO left_by VALUES (3)")
                scope.cancel()
        with pytest.raises(psycopg.errors.DivisionByZero):
            async with pool.connection() as connection:
                await connection.execute("SELECT 1 / 0")
        async with pool.connection() as connection:
            found = await connection.execute("SELECT n FROM left_by")
            assert await found.fetchall() == [(1,)]
            await connection.execute("DROP TABLE left_by")
        assert await pid_of(pool) == connection.info.backend_pid


async def test_a_connection_after_its_block(postgres: Cluster) -> None:
    """Who uses a connection that was given back is told so: another task may have it."""
    async with PostgresPool(postgres.conninfo) as pool:
        async with pool.connection() as connection:
            pass
        with pytest.raises(RuntimeError, match=r"given back to its pool.*async with pool\.connection"):
            await connection.execute("SELECT 1")
        await pid_of(pool)


async def test_a_lifetime(postgres: Cluster, mock_clock: trio.testing.MockClock) -> None:
    """A connection that has reached its lifetime is replaced by another one, used or not."""
    async with PostgresPool(postgres.conninfo, limit=1, lifetime=10) as pool:
        pids = [await pid_of(pool), await pid_of(pool)]
        mock_clock.jump(10)
        pids.append(await pid_of(pool))
        async with pool.connection():
            mock_clock.jump(10)
        pids.append(await pid_of(pool))
        assert len(set(pids)) == 3
        assert pids[0] == pids[1]


async def test_one_that_is_idle_for_long_is_asked(postgres: Cluster, mock_clock: trio.testing.MockClock) -> None:
    """A connection that nobody has used for long is asked whether it lives, and then used as it was."""
    async with PostgresPool(postgres.conninfo, limit=1, lifetime=1e9) as pool:
        first = await pid_of(pool)
        mock_clock.jump(3600)
        async with pool.connection() as connection:
            assert not connection.autocommit
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            assert connection.info.backend_pid == first


async def test_one_that_has_become_silent(postgres: Cluster, mock_clock: trio.testing.MockClock) -> None:
    """A connection that nobody has used for long, and that a router on the way has forgotten, is replaced."""
    silent: set[int] = set()
    numbers = count()

    async def forward(client: trio.SocketStream) -> None:
        number = next(numbers)
        async with await trio.open_tcp_stream("127.0.0.1", postgres.port) as server, trio.open_nursery() as nursery:
            nursery.start_soon(copy, number, client, server)
            await copy(number, server, client)
            nursery.cancel_scope.cancel()

    async def copy(number: int, source: trio.SocketStream, target: trio.SocketStream) -> None:
        async for data in source:
            if number not in silent:
                await target.send_all(data)

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    where = f"host=127.0.0.1 port={listener.socket.getsockname()[1]} user=postgres dbname=postgres"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, forward, [listener])
        async with PostgresPool(where, limit=1, timeout=10_000, lifetime=1e9) as pool:
            first = await pid_of(pool)
            silent.add(0)
            mock_clock.jump(3600)
            mock_clock.rate = 100  # two seconds pass until it is given up
            with trio.fail_after(5000):
                assert await pid_of(pool) != first
        nursery.cancel_scope.cancel()


async def test_new_connections_are_configured(postgres: Cluster) -> None:
    """What ``configure`` does is done on each new connection, and kept."""

    async def configure(connection: PostgresConnection) -> None:
        await connection.execute("SET application_name TO 'configured'")

    async with PostgresPool(postgres.conninfo, limit=1, lifetime=0.001, configure=configure) as pool:
        for _ in range(2):
            async with pool.connection() as connection:
                await connection.rollback()
                found = await connection.execute("SHOW application_name")
                assert await found.fetchone() == ("configured",)


async def test_streams_by_copy(postgres: Cluster) -> None:
    """What one COPY gives another one takes, and says how many rows that were."""
    async with PostgresPool(postgres.conninfo) as pool, pool.connection() as connection:
        await connection.execute("CREATE TEMPORARY TABLE taken (n int, filler text)")
        query = "COPY (SELECT n, repeat('x', 100) FROM generate_series(1, %s) AS n) TO STDOUT"
        async with aclosing(pool.copy_out(query, [50_000])) as out:
            assert await connection.copy_in("COPY taken FROM STDIN", out) == 50_000
        found = await connection.execute("SELECT sum(n) FROM taken")
        assert await found.fetchone() == (sum(range(50_001)),)


async def test_leaving_a_copy_early_cancels_it(postgres: Cluster) -> None:
    """Whoever has seen enough ends the query, and its connection serves the next."""
    async with PostgresPool(postgres.conninfo, limit=1) as pool:
        before = await pid_of(pool)
        async with aclosing(pool.copy_out("COPY (SELECT generate_series(1, 100000000)) TO STDOUT")) as out:
            assert await anext(out) == b"1\n"
        assert await pid_of(pool) == before


@pytest.mark.parametrize("what", ["out", "in", "transaction", "query"])
async def test_what_is_cancelled_is_freed(postgres: Cluster, what: str) -> None:
    """What was cancelled is freed without the garbage collector, and its connection serves the next."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"1\n" * 10_000

    async def work(connection: PostgresConnection) -> None:
        if what == "out":
            async with aclosing(pool.copy_out("COPY (SELECT generate_series(1, 100000000)) TO STDOUT")) as out:
                async for _ in out:
                    pass
        elif what == "in":
            await connection.copy_in("COPY freed FROM STDIN", endless())
        elif what == "transaction":
            async with connection.transaction():
                await connection.execute("SELECT pg_sleep(3600)")
        else:
            await connection.execute("SELECT pg_sleep(3600)")

    async with PostgresPool(postgres.conninfo, limit=2) as pool:
        before = [await pid_of(pool)]
        async with pool.connection() as connection:
            await connection.execute("CREATE TEMPORARY TABLE freed (n int)")
            await connection.commit()
            gc.collect()
            gc.disable()
            try:
                with trio.move_on_after(0.2) as scope:
                    await work(connection)
                assert scope.cancelled_caught
                kept = [each for each in gc.get_objects() if isinstance(each, (psycopg.AsyncCopy, trio.Cancelled))]
                assert kept == []
            finally:
                gc.enable()
            await connection.rollback()
        assert await pid_of(pool) in [*before, connection.info.backend_pid]


async def test_notifications(postgres: Cluster) -> None:
    """Notifications come in order, also those of while nobody waits; no later user of the pool hears of them."""
    async with PostgresPool(named(postgres, "listener"), limit=2) as pool:
        async with pool.listen("news", 'odd "name"') as notifications:
            for number in range(5):
                async with pool.connection() as connection:
                    await connection.execute("SELECT pg_notify('news', %s)", [str(number)])
            async with pool.connection() as connection:
                await connection.execute("SELECT pg_notify('odd \"name\"', 'last')")
            with trio.fail_after(PATIENCE):
                got = [await anext(notifications) for _ in range(6)]
            assert [each.payload for each in got] == ["0", "1", "2", "3", "4", "last"]
            assert got[-1].channel == 'odd "name"'
            with trio.move_on_after(0.05) as scope:
                await anext(notifications)
            assert scope.cancelled_caught
        await trio.to_thread.run_sync(postgres.wait_for_sessions, "listener", 1)
        with pytest.raises(TypeError, match="names of channels"):
            async with pool.listen():
                pass


async def test_a_restart_of_the_server(own_postgres: Cluster) -> None:
    """After a restart the idle connections are replaced without an error; a query under way and a listener fail."""
    async with PostgresPool(own_postgres.conninfo, limit=4, timeout=PATIENCE) as pool:
        async with pool.connection(), pool.connection(), pool.connection():
            pass
        failed: list[type[Exception]] = []

        async def ask() -> None:
            try:
                async with pool.connection() as connection:
                    await connection.execute("SELECT pg_sleep(3600)")
            except psycopg.OperationalError as error:
                failed.append(type(error))

        async def listen() -> None:
            try:
                async with pool.listen("news") as notifications:
                    await anext(notifications)
            except psycopg.OperationalError as error:
                failed.append(type(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(listen)
            await trio.to_thread.run_sync(own_postgres.wait_for_sessions, "", 1, "SELECT pg_sleep%")
            await trio.to_thread.run_sync(own_postgres.restart)
        assert len(failed) == 2
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(pid_of, pool)


async def test_a_server_that_is_away(own_postgres: Cluster) -> None:
    """While the server is away each use fails by psycopg's error; when it is back the pool works, at its full limit."""
    async with PostgresPool(own_postgres.conninfo, limit=1) as pool:
        await trio.to_thread.run_sync(own_postgres.halt)
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError):
                await pid_of(pool)
        await trio.to_thread.run_sync(own_postgres.start)
        await pid_of(pool)


async def test_a_server_that_does_not_answer(postgres: Cluster) -> None:
    """The pool's timeout holds for the server, too."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        pool = PostgresPool(f"host=127.0.0.1 port={listener.socket.getsockname()[1]}", timeout=0.1)
        with pytest.raises(psycopg.OperationalError, match=r"within 0\.1 s"):
            async with pool:
                pass


async def test_a_transaction_as_a_dependency(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the handler has committed is kept, what it has not is rolled back; to forget it is an error."""
    for name, value in postgres.environment.items():
        monkeypatch.setenv(name, value)
    app = App()
    app.lifespan(POOL)

    async def add(connection: PostgresConnection, number: int) -> None:
        await connection.execute("CREATE TABLE IF NOT EXISTS added (n int)")
        await connection.execute("INSERT INTO added VALUES (%s)", [number])

    @app.post("/{what}")
    async def post(what: str, connection: Annotated[PostgresConnection, Provide(POOL.transaction)]) -> str:
        await add(connection, 1)
        if what == "fail":
            raise HTTPError(409)
        if what == "commit":
            await connection.commit()
        return what

    @app.get("/")
    async def count(connection: Annotated[PostgresConnection, Provide(POOL.transaction)]) -> int:
        found = await (await connection.execute("SELECT count(*) FROM added")).fetchone()
        return int(found[0]) if found else -1

    async with TestClient(app, raise_app_exceptions=False) as client:
        assert (await client.post("/commit")).text == "commit"
        assert (await client.get("/")).json() == 1
        assert (await client.post("/fail")).status_code == 409
        assert (await client.post("/forget")).text == "forget"
        assert (await client.get("/")).json() == 1
        async with POOL.connection() as connection:
            await connection.execute("DROP TABLE added")
    assert "rolled back: write `await connection.commit()`" in caplog.text


@pytest.fixture(scope="module", params=RUNNERS)
def server(request: pytest.FixtureRequest, start_server: StartServer, own_postgres: Cluster) -> Iterator[Server]:
    """The app of these tests, on each server."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**own_postgres.environment, "PGAPPNAME": f"app-{request.param}"}.items():
            patch.setenv(name, value)
        yield start_server("tests.contrib.app:app", runner=request.param)


def name_of(server: Server) -> str:
    """Its sessions' name."""
    return f"app-{server.runner}"


@pytest.mark.parametrize(
    ("path", "row", "query"), [("/export", b"\n1000\n", "COPY%"), ("/rows", b'{"n":1000}', "FETCH%")]
)
def test_a_client_leaves_in_the_middle_of_an_export(
    server: Server, own_postgres: Cluster, path: str, row: bytes, query: str
) -> None:
    """The query ends on the server, and the connection goes on to the next request."""
    before = own_postgres.sessions(name_of(server))
    for _ in range(3):
        with server.request(path) as client:
            read_until(client, row)
            own_postgres.wait_for_sessions(name_of(server), 1, query)
        own_postgres.wait_for_sessions(name_of(server), 0, query)
    assert int(server.curl("/pid")[1]) > 0
    assert before <= own_postgres.sessions(name_of(server))


def test_a_query_that_nobody_ends(server: Server, own_postgres: Cluster) -> None:
    """Where a handler leaves a query under way, it is cancelled, and its connection serves the next."""
    before = server.curl("/pid")[1]
    assert server.curl("/abandoned", "-w", "%{http_code}", "-o", "/dev/null")[1] == b"418"
    own_postgres.wait_for_sessions(name_of(server), 0, "SELECT pg_sleep(3600)")
    assert server.curl("/pid")[1] == before


def test_an_exhausted_pool_is_a_503(server: Server, own_postgres: Cluster) -> None:
    """Two clients that do not read have both connections; a third one is told, and served when they have left."""
    with server.request("/export") as one, server.request("/export") as two:
        read_until(one, b"\n1000\n")
        read_until(two, b"\n1000\n")
        code, printed = server.curl("/pid", "-w", "%{http_code}", "-o", "/dev/null")
        assert (code, printed) == (0, b"503")
        server.wait_for_event("exhausted")
    own_postgres.wait_for_sessions(name_of(server), 0, "COPY%")
    assert int(server.curl("/pid")[1]) > 0


def test_a_query_that_a_handler_gives_up(server: Server) -> None:
    """``move_on_after`` ends a query, and its connection goes on within the same block."""
    before = server.curl("/pid")[1]
    assert server.curl("/sleep")[1] == b"cancelled: True"
    assert server.curl("/pid")[1] == before


def test_an_upload_into_a_table(server: Server) -> None:
    """A body goes into a table as it comes; of one that is refused, or breaks off, nothing is kept."""
    before = int(server.curl("/count")[1])
    assert server.curl("/import", "--data-binary", "1\n2\n3\n")[1] == b"3"
    assert int(server.curl("/count")[1]) == before + 3
    rows = "\n".join(map(str, range(1000)))
    assert server.curl("/import", "--data-binary", rows, "-w", "%{http_code}", "-o", "/dev/null")[1] == b"413"
    with server.connect() as client:
        client.sendall(b"POST /import HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n1\n2\n")
    assert int(server.curl("/count")[1]) == before + 3


def test_a_forgotten_commit_is_logged(server: Server) -> None:
    """The log says what to write, and the route."""
    before = server.curl("/count")[1]
    server.curl("/forgotten", "-X", "POST")
    server.wait_for_output("await connection.commit()")
    assert server.curl("/count")[1] == before


def test_notifications_as_events(server: Server, own_postgres: Cluster) -> None:
    """What the database notifies is an event in the same moment; when the client leaves, its session ends."""
    with server.request("/news") as client:
        read_until(client, b"event: ready")
        with psycopg.connect(own_postgres.conninfo, autocommit=True) as connection:
            connection.execute("NOTIFY news, 'hello'")
        read_until(client, b"data: hello")
        own_postgres.wait_for_sessions(name_of(server), 1, "LISTEN%")
    own_postgres.wait_for_sessions(name_of(server), 0, "LISTEN%")


def test_the_app_after_a_restart(server: Server, own_postgres: Cluster) -> None:
    """No request fails after the database has been restarted."""
    before = server.curl("/pid")[1]
    own_postgres.restart()
    after = server.curl("/pid")[1]
    assert int(after) > 0
    assert before != after


def test_a_stop_ends_its_sessions(start_server: StartServer, own_postgres: Cluster) -> None:
    """A worker that is told to stop closes its connections, whatever uses them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**own_postgres.environment, "PGAPPNAME": "stopped"}.items():
            patch.setenv(name, value)
        server = start_server("tests.contrib.app:app", "--graceful-timeout", "1", runner="trioweb")
    with server.request("/export") as client:
        read_until(client, b"\n1000\n")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE)
    own_postgres.wait_for_sessions("stopped", 0)
