"""What the guide says of deploying, done: its nginx configuration in a real nginx, before real servers."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from websockets.sync.client import connect

from tests.conftest import StartServer
from tests.docs.guide import DOCS
from tests.servers import PATIENCE, Server, read_until, reserve_port
from trioweb.server.options import parse

PAGE = (DOCS / "deploying.md").read_text()
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
UNIT = "/etc/systemd/system/shop.service"


def block(language: str, title: str) -> str:
    """A block of the page."""
    [found] = re.findall(rf'```{language} title="{re.escape(title)}"\n(.*?)```', PAGE, re.DOTALL)
    return str(found)


class Nginx:
    """An nginx of this machine with the page's configuration, on ports of its own."""

    def __init__(self, directory: Path, upstream: int, certificate: Path) -> None:
        assert Path(NGINX).exists(), "this test needs nginx"
        self._reserved = [reserve_port(), reserve_port()]
        self.port, self.tls_port = (int(reserved.getsockname()[1]) for reserved in self._reserved)
        sites = block("nginx", "/etc/nginx/sites-available/shop") + block("nginx", "https")
        for old, new in (
            ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
            ("listen 80;", f"listen 127.0.0.1:{self.port};"),
            ("listen 443 ", f"listen 127.0.0.1:{self.tls_port} "),
            ("/etc/letsencrypt/live/shop.example/fullchain.pem", str(certificate)),
            ("/etc/letsencrypt/live/shop.example/privkey.pem", str(certificate)),
        ):
            assert old in sites, old
            sites = sites.replace(old, new)
        temporary = "".join(
            f"{name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        path = directory / "nginx.conf"
        path.write_text(
            f"pid {directory}/nginx.pid;\nerror_log {directory}/error.log;\ndaemon off;\nmaster_process off;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{sites}}}\n"
        )
        self._command = [NGINX, "-p", str(directory), "-c", str(path)]
        self._log = directory / "error.log"
        self.process: subprocess.Popen[bytes] | None = None

    def check(self) -> str:
        """What nginx says of the configuration."""
        done = subprocess.run([*self._command, "-t"], capture_output=True, text=True, check=False)
        return done.stderr

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(self._command)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError(f"nginx did not start:\n{self._log.read_text()}")

    def connect(self) -> socket.socket:
        """A connection to it."""
        client = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        client.settimeout(PATIENCE)
        return client

    def request(self, path: str) -> socket.socket:
        """A connection on which a request was sent."""
        client = self.connect()
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
        return client

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        for reserved in self._reserved:
            reserved.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs certificates."""
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key."""
    path = tmp_path_factory.mktemp("tls") / "cert.pem"
    authority.issue_cert("shop.example").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the page's project."""
    place = tmp_path_factory.mktemp("shop")
    (place / "app.py").write_text(
        block("python", "app.py")
        + '\n@app.get("/broken")\nasync def broken():\n    yield "one\\n"\n    raise ValueError("on purpose")\n'
        '\n@app.put("/seen")\nasync def seen(request: Request):\n'
        '    async for chunk in request.stream():\n        print("a piece of an upload", flush=True)\n'
        "\nmade = 0\n"
        '\n@app.get("/flood")\nasync def flood():\n    global made\n    while True:\n'
        "        made += 65536\n        yield bytes(65536)\n"
        '\n@app.get("/made")\nasync def how_many():\n    return made\n'
    )
    (place / "server.toml").write_text(block("toml", "server.toml"))
    return place


@pytest.fixture(scope="module", params=["hypercorn", "trioweb"])
def server(request: pytest.FixtureRequest, start_server: StartServer, shop: Path) -> Server:
    """The page's app under both servers, the one with the page's own configuration."""
    if request.param == "hypercorn":
        return start_server("app:app", directory=shop)
    return start_server("app:app", "-c", "server.toml", directory=shop, runner="trioweb")


@pytest.fixture(scope="module")
def nginx(server: Server, certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """The page's nginx in front of it."""
    proxy = Nginx(tmp_path_factory.mktemp("nginx"), server.port, certificate)
    proxy.start()
    yield proxy
    proxy.stop()


def test_nginx_takes_the_configuration(nginx: Nginx) -> None:
    """`nginx -t` finds nothing to say of the page's configuration."""
    assert nginx.check().count("syntax is ok") == 1
    assert "warn" not in nginx.check()


def test_events_pass_at_once(nginx: Nginx) -> None:
    """An event arrives through nginx when it is yielded, and not when there are more."""
    with nginx.request("/clock") as client:
        read_until(client, b'data: {"tick":1}\n\n')
        read_until(client, b'data: {"tick":2}\n\n')


def test_lines_pass_at_once(nginx: Nginx) -> None:
    """So does a line of another stream, which nginx knows nothing of."""
    with nginx.request("/numbers") as client:
        read_until(client, b'{"number":0}\n')


def test_a_client_that_does_not_read(start_server: StartServer, shop: Path, certificate: Path, tmp_path: Path) -> None:
    """A client of nginx that does not read stops the producer: nginx holds little of a stream."""
    server = start_server("app:app", directory=shop, runner="trioweb")
    proxy = Nginx(tmp_path, server.port, certificate)
    proxy.start()
    try:
        with proxy.request("/flood") as client:
            read_until(client, b"\r\n\r\n")
            before, made = -1, 0
            while made != before:  # it still goes on
                before = made
                time.sleep(0.3)
                made = int(server.curl("/made")[1])
                assert made < 50 * 2**20
            assert made > 0
    finally:
        proxy.stop()


def test_a_client_that_leaves(nginx: Nginx, server: Server) -> None:
    """A client that leaves nginx leaves the app too."""
    before = server.output.count("a client has left")
    with nginx.request("/clock") as client:
        read_until(client, b'data: {"tick":1}\n\n')
    end = time.monotonic() + PATIENCE
    while server.output.count("a client has left") <= before:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_broken_stream(nginx: Nginx) -> None:
    """A stream that breaks is broken for the client of nginx."""
    url = f"http://127.0.0.1:{nginx.port}/broken"
    done = subprocess.run(["curl", "-s", "-m", "15", "-H", "Host: shop.example", url], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (18, b"one\n")


def test_an_upload_passes_at_once(nginx: Nginx, server: Server) -> None:
    """The app gets an upload while it arrives."""
    with nginx.connect() as client:
        client.sendall(b"PUT /seen HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 200000\r\n\r\n" + bytes(100_000))
        server.wait_for_output("a piece of an upload")


def test_an_upload_may_be_large(nginx: Nginx) -> None:
    """An upload may be larger than nginx allows by itself."""
    with nginx.connect() as client:
        size = 3 * 2**20
        client.sendall(f"PUT /upload HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {size}\r\n\r\n".encode())
        client.sendall(bytes(size))
        body = read_until(client, b"}").partition(b"\r\n\r\n")[2]
        assert json.loads(body[body.index(b"{") : body.index(b"}") + 1])["bytes"] == size


def test_websockets(nginx: Nginx) -> None:
    """A WebSocket passes."""
    with connect(f"ws://127.0.0.1:{nginx.port}/echo") as ws:
        ws.send("hello")
        assert ws.recv(PATIENCE) == "hello"


def test_http2(nginx: Nginx, authority: trustme.CA, tmp_path: Path) -> None:
    """Over HTTPS nginx speaks HTTP/2, and events pass at once there too."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    command = [
        "curl", "-sN", "--http2", "--cacert", str(tmp_path / "ca.pem"), "-w", "%{http_version}",
        "--resolve", f"shop.example:{nginx.tls_port}:127.0.0.1", f"https://shop.example:{nginx.tls_port}/clock",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        lines = [curl.stdout.readline() for _ in range(3)]
        curl.send_signal(signal.SIGINT)
    assert lines == ['data: {"tick":1}\n', "\n", 'data: {"tick":2}\n']
    head = subprocess.run([*command, "-I", "-m", "15"], capture_output=True, text=True, check=False)
    assert head.stdout.startswith("HTTP/2 200")


def test_a_stop_ends_events_cleanly(start_server: StartServer, shop: Path, certificate: Path, tmp_path: Path) -> None:
    """When the app is told to stop, as systemd does it, event streams end cleanly for the clients of nginx."""
    server = start_server("app:app", "-c", "server.toml", directory=shop, runner="trioweb")
    proxy = Nginx(tmp_path, server.port, certificate)
    proxy.start()
    try:
        with proxy.request("/clock") as client:
            read_until(client, b'data: {"tick":1}\n\n')
            server.process.send_signal(signal.SIGTERM)
            assert read_until(client, b"0\r\n\r\n").endswith(b"0\r\n\r\n")
        assert server.process.wait(PATIENCE) == 0
    finally:
        proxy.stop()


def test_a_reload_refuses_nobody(start_server: StartServer, shop: Path, certificate: Path, tmp_path: Path) -> None:
    """`systemctl reload` replaces the workers, and nginx finds the app at every moment."""
    server = start_server("app:app", "-c", "server.toml", directory=shop, runner="trioweb")
    proxy = Nginx(tmp_path, server.port, certificate)
    proxy.start()
    try:
        assert "ExecReload=/bin/kill -HUP $MAINPID" in block("ini", UNIT)
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + PATIENCE
        statuses = set()
        while "all workers were replaced" not in server.output:
            assert time.monotonic() < end
            with proxy.request("/clock") as client:
                statuses.add(read_until(client, b"\r\n\r\n").split()[1])
        assert statuses == {b"200"}
    finally:
        proxy.stop()


def test_the_unit(tmp_path: Path, server: Server) -> None:
    """Systemd takes the unit, its command is one, and it waits longer than the server may take."""
    text = block("ini", UNIT)
    fields = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    words = shlex.split(fields["ExecStart"])
    assert words[:2] == ["/srv/shop/.venv/bin/trioweb", "run"]
    config = block("toml", "server.toml")
    (tmp_path / "server.toml").write_text(config)
    parsed = parse([word.replace("server.toml", str(tmp_path / "server.toml")) for word in words[2:]], {})
    assert parsed.graceful_timeout + parsed.shutdown_timeout < float(fields["TimeoutStopSec"])
    assert fields["KillMode"] == "mixed"
    counted = dict(line.partition("=")[::2] for line in block("ini", "counts.conf").splitlines())
    assert counted["Environment"].partition("=")[2] == f"/run/{counted['RuntimeDirectory']}"
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd here")
    unit = tmp_path / "shop.service"
    counts = block("ini", "counts.conf")
    unit.write_text(text.replace(words[0], "/bin/true").replace("[Install]", f"{counts}\n[Install]"))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert str(unit) not in done.stderr, done.stderr
    assert "shop.service" not in done.stderr, done.stderr


def test_the_container() -> None:
    """The container's command is one, on an address that can be reached, and it is process 1."""
    lines = block("dockerfile", "Dockerfile").splitlines()
    assert [line.split()[0] for line in lines] == ["FROM", "WORKDIR", "RUN", "COPY", "USER", "EXPOSE", "CMD"]
    command = json.loads(lines[-1].removeprefix("CMD "))
    assert command[:2] == ["trioweb", "run"]
    config = parse(command[2:], {})
    assert config.bind == ["0.0.0.0:8000"]
    assert config.graceful_timeout < 10


def test_tls_without_a_proxy(
    start_server: StartServer, shop: Path, certificate: Path, authority: trustme.CA, tmp_path: Path
) -> None:
    """The server's own configuration for HTTPS is one, and speaks HTTP/2."""
    config = tomllib.loads(block("toml", "tls.toml"))
    assert set(config) == {"bind", "insecure_bind", "certfile", "keyfile"}
    options = ("--certfile", str(certificate), "--keyfile", str(certificate))
    server = start_server("app:app", *options, directory=shop, runner="trioweb", scheme="https")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(server.connect(), server_hostname="shop.example") as client:
        assert client.selected_alpn_protocol() == "h2"
