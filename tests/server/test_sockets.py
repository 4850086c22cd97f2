"""Listening sockets."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from trioweb.server.config import ServerConfig
from trioweb.server.process.sockets import ListenError, addresses, close, hand_over, listen, take_over

# Hypercorn leaves a socket that it could not bind to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


def config_for(*binds: str, workers: int = 1) -> ServerConfig:
    """A configuration that listens there."""
    config = ServerConfig()
    config.bind = list(binds)
    config.workers = workers
    return config


@pytest.mark.parametrize("workers", [1, 3])
def test_a_port_that_is_taken(workers: int) -> None:
    """A port on which another program listens is refused in words, also for several workers."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ListenError, match=f"cannot listen on {where}: another program does.*--bind"):
            listen(config_for(where, workers=workers))


def test_two_servers_of_ours() -> None:
    """Two servers with several workers each do not share a port without a word."""
    first = config_for("127.0.0.1:0", workers=2)
    sockets = listen(first)
    port = sockets.insecure_sockets[0].getsockname()[1]
    with pytest.raises(ListenError, match="another program does"):
        listen(config_for(f"127.0.0.1:{port}", workers=2))
    close(sockets, first)
    assert first.workers == 2


@pytest.mark.parametrize(
    ("bind", "message"),
    [("192.0.2.1:8000", "no such address"), ("127.0.0.1:70000", "cannot listen on 127.0.0.1:70000")],
)
def test_addresses_that_are_none(bind: str, message: str) -> None:
    """An address that is not this machine's, or none at all, is refused in words."""
    with pytest.raises(ListenError, match=message):
        listen(config_for(bind))


def test_what_to_type(tmp_path: Path) -> None:
    """Addresses are given as a browser takes them; that of a UNIX socket as `--bind` does."""
    path = tmp_path / "web.sock"
    config = config_for("127.0.0.1:0", "[::1]:0", f"unix:{path}")
    sockets = listen(config)
    one, two, three = addresses(sockets)
    assert one.startswith("http://127.0.0.1:")
    assert two.startswith("http://[::1]:")
    assert three == f"unix:{path}"
    close(sockets, config)


def test_a_unix_socket(tmp_path: Path) -> None:
    """A UNIX socket has the permissions that were asked for; its file is gone when it was closed; a stale one is no
    obstacle.
    """
    path = tmp_path / "web.sock"
    config = config_for(f"unix:{path}")
    config.umask = 0o077
    for _ in range(2):
        sockets = listen(config)
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        for sock in sockets.insecure_sockets:
            sock.close()  # as if the process had been killed: the file stays
    sockets = listen(config)
    close(sockets, config)
    assert not path.exists()


def test_a_worker_takes_over() -> None:
    """What was handed over by descriptor is the same listening socket."""
    config = config_for("127.0.0.1:0")
    sockets = listen(config)
    address = sockets.insecure_sockets[0].getsockname()
    handed = hand_over(sockets)
    [own] = sockets.insecure_sockets
    own.detach()  # as in another process: only the number is known
    taken = take_over(config_for("127.0.0.1:1"), handed)
    assert [sock.getsockname() for sock in taken.insecure_sockets] == [address]
    with socket.create_connection(address):
        taken.insecure_sockets[0].accept()[0].close()
    close(taken, config)
