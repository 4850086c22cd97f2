"""`trioweb run` as processes: workers that crash, are replaced, and end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trio

from tests.conftest import StartServer
from tests.servers import PATIENCE, ROOT, Server, read_all, read_until, reserve_port
from trioweb.server.process.process import COLLECTIONS
from trioweb.server.process.reload import report_changes
from trioweb.server.process.snapshot import changes_since, take_snapshot

TARGET = "tests.server.process_app:app"


def ask(server: Server, path: str = "/") -> str:
    """The body of a response, on a connection of its own; empty where there was none."""
    with contextlib.suppress(OSError), server.request(path, headers="Connection: close\r\n") as client:
        return read_all(client).partition(b"\r\n\r\n")[2].decode()
    return ""


def stop(server: Server, number: signal.Signals = signal.SIGTERM) -> int:
    """Stop the server; returns its exit status."""
    server.process.send_signal(number)
    return server.process.wait(PATIENCE)


def wait_for_workers(server: Server, count: int, without: set[int] | None = None) -> set[int]:
    """Wait until that many workers have answered, none of those among them."""
    end = time.monotonic() + PATIENCE
    seen: set[int] = set()
    while len(seen) < count:
        assert time.monotonic() < end, f"{seen}\n{server.output}"
        seen |= {int(answer) for answer in [ask(server)] if answer}
        seen -= without or set()
    return seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_and_the_last_line(start_server: StartServer, number: signal.Signals) -> None:
    """It says in one line what it serves, where, and how to stop it; it ends with status 0, the lifespan cleaned up."""
    server = start_server(TARGET, "--workers", "2", runner="trioweb")
    server.wait_for_output(" serves ")
    where = re.escape(server.url)
    assert re.search(rf"INFO trioweb serves {TARGET} at {where} \(2 workers, process \d+; Ctrl\+C", server.output)
    wait_for_workers(server, 2)
    assert stop(server, number) == 0
    assert server.events == ["ended", "ended"]
    assert len(server.output.splitlines()) == 1


def test_ctrl_c(start_server: StartServer) -> None:
    """Ctrl+C, which a terminal sends to workers too, is a graceful stop: what is in flight is answered, quietly."""
    server = start_server(TARGET, "--workers", "2", runner="trioweb")
    workers = wait_for_workers(server, 2)
    with server.request("/slow") as client:
        server.wait_for_event("slow started")
        for process in (*workers, server.process.pid):
            os.kill(process, signal.SIGINT)
        assert read_all(client).endswith(b"slow")
    assert server.process.wait(PATIENCE) == 0
    assert server.events[-2:] == ["ended", "ended"]
    assert "Traceback" not in server.output


def test_a_signal_to_all_processes(start_server: StartServer) -> None:
    """SIGTERM to the workers too, as systemd sends it by default, is one stop: what is in flight has its time."""
    server = start_server(TARGET, "--workers", "2", runner="trioweb")
    workers = wait_for_workers(server, 2)
    with server.request("/slow") as client:
        server.wait_for_event("slow started")
        for process in (*workers, server.process.pid):
            os.kill(process, signal.SIGTERM)
        assert read_all(client).endswith(b"slow")
    assert server.process.wait(PATIENCE) == 0


def test_a_second_signal(start_server: StartServer) -> None:
    """Who asks again, a moment later, does not wait for the graceful time."""
    server = start_server(TARGET, "--graceful-timeout", "60", runner="trioweb")
    with server.request("/waits"):
        server.wait_for_event("waits")
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0


def test_crashes(start_server: StartServer) -> None:
    """A worker that crashes is replaced, after a pause that grows with each crash; the other one's streams go on."""
    server = start_server(TARGET, "--workers", "2", runner="trioweb")
    wait_for_workers(server, 2)
    stream = server.request("/events")
    kept = int(re.findall(rb"data: (\d+)\n\n", read_until(stream, b"\n\n\r\n"))[0])
    killed = {kept}
    for _ in range(3):
        [other] = wait_for_workers(server, 1, without=killed)
        killed.add(other)
        os.kill(other, signal.SIGKILL)
        server.wait_for_output(f"worker {other} was killed by SIGKILL: another one starts in")
    wait_for_workers(server, 1, without=killed)
    pauses = [float(pause) for pause in re.findall(r"starts in ([\d.]+) s", server.output)]
    assert pauses == [0.1, 0.2, 0.4]
    stream.settimeout(0.01)
    with pytest.raises(TimeoutError):  # it is open
        stream.recv(1)
    stream.close()
    assert stop(server) == 0


def test_an_exit_status_is_told(start_server: StartServer) -> None:
    """What a worker ended with is logged; its successor serves."""
    server = start_server(TARGET, runner="trioweb")
    first = ask(server)
    ask(server, "/crash/7")
    server.wait_for_output(f"worker {first} ended with status 7: another one starts in 0.1 s")
    wait_for_workers(server, 1, without={int(first)})


def test_all_are_replaced(start_server: StartServer) -> None:
    """At SIGHUP all workers are replaced one by one; no connection is refused, and no request is lost meanwhile."""
    server = start_server(TARGET, "--workers", "2", runner="trioweb")
    before = wait_for_workers(server, 2)
    over = threading.Event()
    answers: list[str] = []

    def ask_on() -> None:
        while not over.is_set():
            answers.append(ask(server, "/slow"))

    asking = [threading.Thread(target=ask_on) for _ in range(4)]
    for thread in asking:
        thread.start()
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_output("all workers were replaced")
    over.set()
    for thread in asking:
        thread.join()
    assert set(answers) == {"slow"}
    assert wait_for_workers(server, 2, without=before).isdisjoint(before)
    assert len(server.workers) == 2
    assert stop(server) == 0


def test_a_successor_that_cannot_start(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new code cannot start, the workers stay as they are."""
    mark = tmp_path / "fail"
    monkeypatch.setenv("FAIL_MARK", str(mark))
    server = start_server(TARGET, "--workers", "2", runner="trioweb")
    before = wait_for_workers(server, 2)
    mark.touch()
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_output("before it served: the workers stay as they are")
    assert "no database" in server.output
    assert wait_for_workers(server, 2) == before
    assert stop(server) == 0


def test_an_app_that_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lifespan that fails at start-up ends the command with its error and status 3, once and not for each worker."""
    (tmp_path / "fail").touch()
    monkeypatch.setenv("FAIL_MARK", str(tmp_path / "fail"))
    status, output = run("--workers", "3", "--bind", "127.0.0.1:0", TARGET)
    assert status == 3
    assert output.count("OSError: no database\n") == 1
    assert "serves" not in output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nothing:app"], 3, "there is no module 'nothing' in"),
        (["tests.server.process_app:nothing"], 3, "did you mean tests.server.process_app:app?"),
        (["--workers", "0", "nothing:app"], 3, "there is no module 'nothing' in"),
        (["--bind", "127.0.0.1:{taken}", TARGET], 2, "another program does. Stop it, or choose another"),
        (["--accesslog", "x", TARGET], 2, "unrecognized arguments: --accesslog"),
        (["--access-logfile", "/nowhere/x", TARGET], 2, "cannot open '/nowhere/x': No such file or directory"),
        (["--certfile", "/nowhere", TARGET], 2, "--certfile: cannot read '/nowhere'"),
    ],
)
def test_what_cannot_run(arguments: list[str], status: int, message: str) -> None:
    """A mistake in the command is told in a line that says what to do, with a status of its own and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = [argument.format(taken=port) for argument in arguments]
        found, output = run(*(() if "--bind" in given else ("--bind", "127.0.0.1:0")), *given)
    assert message in output
    assert found == status
    assert "Traceback" not in output


def run(*arguments: str) -> tuple[int, str]:
    """Run the command to its end: its status, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "trioweb", "run", *arguments],
        capture_output=True, text=True, check=False, timeout=PATIENCE, cwd=ROOT,
        env={**os.environ, "EVENT_LOG": os.devnull},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    """What an import raises is shown with its traceback; it is the user's own."""
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    status, output = run("--bind", "127.0.0.1:0", str(tmp_path / "wrong.py"))
    assert status == 3
    assert "ZeroDivisionError" in output


@pytest.mark.parametrize("path", ["/stubborn", "/blocking"])
def test_a_worker_that_does_not_stop(start_server: StartServer, path: str) -> None:
    """A worker whose handlers heed nothing is killed some seconds after its graceful time; the status tells."""
    server = start_server(TARGET, "--graceful-timeout", "0.5", runner="trioweb")
    with server.request(path):
        server.wait_for_event(path)
        begin = time.monotonic()
        assert stop(server) == 1
        assert time.monotonic() - begin > 3.4
    assert "was killed: its requests took longer than they may" in server.output


def test_patience_can_end(start_server: StartServer) -> None:
    """The third signal ends it at once."""
    server = start_server(TARGET, "--graceful-timeout", "60", runner="trioweb")
    with server.request("/blocking"):
        server.wait_for_event("/blocking")
        for pause in (
            0.1,
            0.1,
            *[PATIENCE / 4] * 4,
        ):  # three, and more for a busy supervisor: of two at once it hears one
            server.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(pause)
                break
    assert server.process.wait(PATIENCE) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_as_soon_as_it_listens(number: signal.Signals) -> None:
    """A signal that comes as soon as a client can connect is a stop like any other: status 0, and nobody is left."""
    for _ in range(3):
        with reserve_port() as reserved:
            port: int = reserved.getsockname()[1]
            process = subprocess.Popen(
                [sys.executable, "-m", "trioweb", "run", "--bind", f"127.0.0.1:{port}", TARGET],
                cwd=ROOT, env={**os.environ, "EVENT_LOG": os.devnull}, stderr=subprocess.PIPE,
            )  # fmt: skip
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.001)
            process.send_signal(number)
            assert process.wait(PATIENCE) == 0
            assert process.stderr is not None
            with process.stderr:  # which ends only when no process has it any more
                assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_stop_during_the_start(workers: str) -> None:
    """A server that is told to stop while its app starts does so, with status 0 and no process left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trioweb", "run", "--workers", workers, "--bind", "127.0.0.1:0", TARGET],
        cwd=ROOT, env={**os.environ, "EVENT_LOG": os.devnull, "NEVER_START": "1"},
        stderr=subprocess.PIPE,
    )  # fmt: skip
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end = time.monotonic() + PATIENCE
    while workers == "2" and not children.read_text() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(1.5)  # it imports, and then hangs; wherever it is, it is to stop
    process.terminate()
    assert process.wait(PATIENCE) in ((0,) if workers == "2" else (0, -signal.SIGTERM))
    assert process.stderr is not None
    with process.stderr:  # which ends only when no process has it any more
        assert b"Traceback" not in process.stderr.read()


def test_no_worker_is_left_behind(start_server: StartServer) -> None:
    """Workers whose supervisor was killed end by themselves, gracefully."""
    server = start_server(TARGET, "--workers", "2", runner="trioweb")
    wait_for_workers(server, 2)
    workers = server.workers
    server.process.kill()
    server.process.wait()
    server.wait_for_event("ended", 2)
    end = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_without_a_supervisor(start_server: StartServer) -> None:
    """With `--workers 0` the process serves itself, and ends as gracefully."""
    server = start_server(TARGET, "--workers", "0", runner="trioweb")
    assert ask(server) == str(server.process.pid)
    server.wait_for_output(f"trioweb serves {TARGET} at {server.url} (Ctrl+C stops it)")
    assert stop(server, signal.SIGINT) == 0
    assert server.events == ["ended"]


def test_a_process_id_file(start_server: StartServer, tmp_path: Path) -> None:
    """The file holds the id of the process to send signals to, for as long as that runs."""
    file = tmp_path / "web.pid"
    server = start_server(TARGET, "--pid", str(file), runner="trioweb")
    assert file.read_text() == str(server.process.pid)
    assert stop(server) == 0
    assert not file.exists()


def test_reload(start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--reload` a changed file is served anew; a mistake in it is the answer until the next change.

    Also where Python keeps bytecode, and size and second of a change are those of the one before.
    """
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    file = tmp_path / "shop.py"

    def write(answer: str) -> None:
        file.write_text(f"from trioweb import App\napp = App()\n@app.get('/')\nasync def root(): return {answer}\n")
        os.utime(file, (1_700_000_000, 1_700_000_000))

    write("'one'")
    server = start_server("shop:app", "--reload", runner="trioweb", directory=tmp_path)
    assert ask(server) == "one"
    for answer, expected in (("'two'", "two"), ("1 +", "SyntaxError"), ("'three'", "three")):
        write(answer)
        end = time.monotonic() + PATIENCE
        while expected not in ask(server):
            assert time.monotonic() < end, server.output
    assert "SyntaxError" in server.output
    assert "shop.py has changed: serving anew" in server.output
    assert stop(server) == 0


HOOK = """
import os
if "TRIOWEB_WORKER" in os.environ and not os.path.exists("changed"):
    import part
    open("changed", "w").close()
    with open("part.py", "w") as file:
        file.write("ANSWER = 'two'\\n")
"""


def test_a_change_while_the_app_is_imported(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--reload` a file is served anew that has changed since the first worker has read it, before the watch."""
    (tmp_path / "part.py").write_text("ANSWER = 'one'\n")
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    (tmp_path / "shop.py").write_text("import part, trioweb\napp = trioweb.App()\napp.get('/')(lambda: part.ANSWER)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = start_server("shop:app", "--reload", runner="trioweb", directory=tmp_path)
    end = time.monotonic() + PATIENCE
    while ask(server) != "two":
        assert time.monotonic() < end, server.output
    assert stop(server) == 0


@pytest.mark.parametrize("change", ["content", "same size and time", "new", "gone", "replaced"])
async def test_changes_before_the_watch(tmp_path: Path, change: str) -> None:
    """What has changed since the snapshot is told once the watch runs; bytecode and what is no Python file are not."""
    file, other = tmp_path / "part.py", tmp_path / "new.py"
    file.write_text("A = 1\n")
    (tmp_path / "notes.txt").write_text("A")
    before = take_snapshot([str(tmp_path)])
    (tmp_path / "notes.txt").write_text("B")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "part.py").write_text("B")
    assert changes_since(before, [str(tmp_path)]) == []
    if change == "content":
        file.write_text("A = 22\n")
    elif change == "same size and time":
        stat = file.stat()
        time.sleep(0.05)  # the clock of a file system may have such steps
        file.write_text("A = 2\n")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif change == "new":
        other.write_text("B = 1\n")
    elif change == "gone":
        file.unlink()
    else:
        other.write_text("A = 2\n")
        other.replace(file)
    send, receive = trio.open_memory_channel[str](1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(report_changes, [str(tmp_path)], send, before)
        with trio.fail_after(PATIENCE):
            assert await receive.receive() == str(other if change == "new" else file)
        nursery.cancel_scope.cancel()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A certificate for localhost, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(certificate), str(key)


def test_tls(start_server: StartServer, certificate: tuple[str, str]) -> None:
    """With a certificate it speaks HTTP/2 and HTTP/1.1 over TLS; what speaks no TLS is let go without a word."""
    files = ("--certfile", certificate[0], "--keyfile", certificate[1])
    server = start_server(TARGET, *files, runner="trioweb", scheme="https")
    for option, version in (("--http2", b"2"), ("--http1.1", b"1.1")):
        status, output = server.curl("/", "--cacert", certificate[0], option, "-w", " %{http_version}")
        assert status == 0
        assert output.split() == [str(server.workers[0]).encode(), version]
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        read_all(client)
    status, output = server.curl("/events", "--cacert", certificate[0], "-m", "1")
    assert (status, output[:6]) == (28, b"data: ")
    assert stop(server) == 0
    assert len(server.output.splitlines()) == 1


def test_a_descriptor_to_listen_on(tmp_path: Path) -> None:
    """A socket that another program has opened, as systemd does, is listened on by its number."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "trioweb", "run", "--bind", f"fd://{number}", TARGET], stderr=subprocess.PIPE,
            pass_fds=[number], cwd=ROOT, env={**os.environ, "EVENT_LOG": os.devnull},
        )  # fmt: skip
        assert process.stderr is not None
        with process.stderr as lines:
            try:
                with socket.create_connection(listening.getsockname(), PATIENCE) as client:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    assert read_all(client).startswith(b"HTTP/1.1 200 ")
                assert any(b"serves" in line for line in lines)  # from then on the supervisor takes signals
            finally:
                process.terminate()
                assert process.wait(PATIENCE) == 0


def test_a_worker_looks_for_cycles_less_often(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the start has made is not looked at again, the rest less often; unless the app has said how often."""
    server = start_server(TARGET, runner="trioweb")
    young, *rest, frozen = json.loads(ask(server, "/collector"))
    assert [young, *rest] == list(COLLECTIONS)
    assert frozen > young
    monkeypatch.setenv("COLLECTOR", "1234")
    own = start_server(TARGET, runner="trioweb")
    assert json.loads(ask(own, "/collector"))[0] == 1234
