"""The options of `trioweb run`, from wherever they come."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from trioweb.server.config import ServerConfig
from trioweb.server.options import OPTIONS, UsageError, parse


def test_defaults() -> None:
    """Without options it is Hypercorn's configuration, with limits where that has none or harmful ones."""
    config = parse(["app:app"], {})
    assert config.application_path == "app:app"
    assert (config.bind, config.workers, config.graceful_timeout) == (["127.0.0.1:8000"], 1, 3)
    assert (config.head_timeout, config.body_timeout, config.tcp_keep_alive) == (10, 120, 60)
    assert (config.ssl_handshake_timeout, config.h2c, config.websocket_max_message_size) == (10, False, 16 << 20)
    assert config.max_requests_in_flight is None
    assert config.keep_alive_max_requests > 10**9


def test_every_option_is_one_of_the_configuration() -> None:
    """Each row of the table names an attribute of the configuration, once, and has a flag of its own."""
    for option in OPTIONS:
        assert hasattr(ServerConfig(), option.name), option.name
    assert len({option.long for option in OPTIONS}) == len({option.name for option in OPTIONS}) == len(OPTIONS)


def test_command_line() -> None:
    """Values are what their options say: numbers, limits that can be none, lists by repetition, switches."""
    config = parse(
        [
            *("-b", "[::1]:80", "-b", "unix:/run/x", "-w", "4", "--head-timeout", "1.5", "--body-timeout", "none"),
            *("--max-connections", "50", "--max-requests-in-flight", "9", "--reload", "--umask", "077"),
            *("--server-name", "a", "--server-name", "b", "--verify-mode", "CERT_REQUIRED", "app"),
        ],
        {},
    )
    assert (config.bind, config.workers) == (["[::1]:80", "unix:/run/x"], 4)
    assert (config.head_timeout, config.body_timeout) == (1.5, None)
    assert (config.max_connections, config.connection_limit, config.max_requests_in_flight) == (50, 50, 9)
    assert (config.use_reloader, config.umask, config.server_names) == (True, 0o77, ["a", "b"])
    assert config.verify_mode is ssl.CERT_REQUIRED


def test_precedence(tmp_path: Path) -> None:
    """The command line wins over the environment, and that over the file."""
    file = tmp_path / "server.toml"
    file.write_text('workers = 2\nbind = "file:1"\nbacklog = 7\nh11_max_incomplete_size = 99\n')
    environment = {"TRIOWEB_WORKERS": "3", "TRIOWEB_BIND": "env:1,env:2", "TRIOWEB_CONFIG": str(file)}
    config = parse(["--workers", "4", "app"], environment)
    assert (config.workers, config.bind, config.backlog) == (4, ["env:1", "env:2"], 7)
    assert config.h11_max_incomplete_size == 99
    config = parse(["-c", str(file), "app"], {})
    assert (config.workers, config.bind) == (2, ["file:1"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worker = 2", r"there is no option 'worker': did you mean 'workers'\?"),
        ("workers = -1", "workers must be a whole number, 0 or more, got '-1'"),
        ('head_timeout = "soon"', "head_timeout must be a number of seconds, or none, got 'soon'"),
        ("workers = ", "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file(tmp_path: Path, text: str, message: str) -> None:
    """A mistake in the file is told with the file's name, the option, what was got, and what fits."""
    file = tmp_path / "server.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        parse(["-c", str(file), "app"], {})
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {"TRIOWEB_WORKERS": "many"}, "TRIOWEB_WORKERS must be a whole number, 0 or more, got 'many'"),
        (["-c", "/nowhere.toml"], {}, "cannot read the configuration '/nowhere.toml': No such file"),
        (["--certfile", "/nowhere.pem"], {}, "--certfile: cannot read '/nowhere.pem'"),
        (["--reload", "-w", "0"], {}, "--reload needs a worker to replace"),
        (["--quic-bind", "x:1"], {}, "--quic-bind needs TLS"),
    ],
)
def test_what_is_wrong_elsewhere(arguments: list[str], environment: dict[str, str], message: str) -> None:
    """A value that does not fit, a file that is not there, and options that exclude each other are told as such."""
    with pytest.raises(UsageError, match=message):
        parse([*arguments, "app"], environment)


def test_one_half_of_tls(tmp_path: Path) -> None:
    """A certificate without its key is refused."""
    certificate = tmp_path / "cert.pem"
    certificate.touch()
    with pytest.raises(UsageError, match="TLS needs both --certfile and --keyfile"):
        parse(["--certfile", str(certificate), "app"], {})


def test_what_is_wrong_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A value that does not fit is told with its option, and the command ends with status 2."""
    with pytest.raises(SystemExit) as caught:
        parse(["--workers", "x", "app"], {})
    assert caught.value.code == 2
    assert "--workers must be a whole number, 0 or more, got 'x'" in capsys.readouterr().err


def test_without_an_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line without an app is told what to write, by what is there where something is."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^name the app: trioweb run app:app, for `app = App\(\)` in app.py$"):
        parse([], {})
    (tmp_path / "shop.py").write_text("from trioweb import App\nweb = App()\n")
    with pytest.raises(UsageError, match=r"^name the app: trioweb run shop:web$"):
        parse(["--workers", "2"], {})


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Help names every option."""
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    printed = capsys.readouterr().out
    assert all(option.long in printed for option in OPTIONS)
