"""The options of ``trioweb run``, from the command line, then the environment, then a TOML file.

One table lists them. A name is that of the configuration's attribute, as it is in a TOML file; in the environment with
``TRIOWEB_`` and in capitals; on the command line with dashes.
"""

from __future__ import annotations

import argparse
import os
import ssl
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from trioweb.ground.pace import AUTO, MinRate, check_rate
from trioweb.server.config import ServerConfig
from trioweb.server.loading import apps_here

PREFIX: Final = "TRIOWEB_"


class UsageError(Exception):
    """An option is unknown, or its value not valid. The message says what to write."""


class Option(NamedTuple):
    """One option.

    Attributes:
        name: the attribute of the configuration.
        parse: converts text to a value.
        help: one line.
        short: the one-letter flag.
        flag: the long flag without its dashes, if it is not the name.
    """

    name: str
    parse: Callable[[str], object]
    help: str
    short: str = ""
    flag: str = ""

    @property
    def long(self) -> str:
        """The long flag."""
        return "--" + (self.flag or self.name.replace("_", "-"))


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise ValueError
    return value


def _limit(text: str) -> float | None:
    return None if text.lower() == "none" else _seconds(text)


def _rate(text: str) -> MinRate:
    if text.lower() in ("none", AUTO):
        return None if text.lower() == "none" else AUTO
    value = float(text)
    check_rate("--min-rate", value)
    return value


def _switch(text: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]


def _list(text: str) -> list[str]:
    return text.split(",")


def _verify_mode(text: str) -> ssl.VerifyMode:
    return ssl.VerifyMode[text]


def _http(text: str) -> str:
    return {"auto": "auto", "h11": "h11"}[text.lower()]


def _octal(text: str) -> int:
    return int(text, 8)


_EXPECTED: Final[dict[Callable[[str], object], str]] = {
    _count: "a whole number, 0 or more",
    _positive: "a whole number, 1 or more",
    _seconds: "a number of seconds",
    _limit: "a number of seconds, or none",
    _rate: "a number of bytes a second above zero, none or auto",
    _switch: "true or false",
    _verify_mode: "CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED",
    _http: "auto or h11",
    _octal: "an octal number such as 007",
}

OPTIONS: Final = (
    Option("bind", _list, "where to listen: host:port, [ipv6]:port, unix:path or fd://number; may be repeated", "-b"),
    Option("insecure_bind", _list, "where to listen without TLS beside --bind with it; may be repeated"),
    Option("quic_bind", _list, "where to listen for HTTP/3, with aioquic and TLS; may be repeated"),
    Option("workers", _count, "processes that serve; 0 to serve in this one, without a supervisor (1)", "-w"),
    Option("use_reloader", _switch, "serve anew when a Python file changes; needs watchfiles", flag="reload"),
    Option("reload_dirs", _list, "a directory to watch with --reload (.); may be repeated", flag="reload-dir"),
    Option("http", _http, "who speaks HTTP/1.1: auto for this server, h11 for Hypercorn (auto)"),
    Option("h2c", _switch, "upgrade HTTP/1.1 to HTTP/2 in clear where a client asks for it (no)"),
    Option("max_connections", _positive, "connections a worker serves at once; more wait (3/4 of its descriptors)"),
    Option("max_requests_in_flight", _positive, "requests a worker works on at once; more get a 503 (no limit)"),
    Option("head_timeout", _limit, "seconds for the head of a request (10)"),
    Option("body_timeout", _limit, "seconds that a request body may not come while the app waits for it (120)"),
    Option("min_rate", _rate, "bytes a second that a client must send or take; none; or auto, as the app says (auto)"),
    Option("keep_alive_timeout", _seconds, "seconds that a connection may be idle (5)", flag="keep-alive"),
    Option("read_timeout", _limit, "seconds that a connection may send nothing, whatever is under way (none)"),
    Option("tcp_keep_alive", _count, "seconds of silence before the system probes a connection; 0 for never (60)"),
    Option("graceful_timeout", _seconds, "seconds that a stop leaves to requests in flight (3)"),
    Option("startup_timeout", _seconds, "seconds for the app's lifespan to start (60)"),
    Option("shutdown_timeout", _seconds, "seconds for the app's lifespan to clean up (60)"),
    Option("ssl_handshake_timeout", _seconds, "seconds for a TLS handshake (10)"),
    Option("max_requests", _positive, "requests after which a worker is replaced (no limit)"),
    Option("max_requests_jitter", _count, "a random part that is added to --max-requests, for each worker (0)"),
    Option("backlog", _positive, "connections that the system holds for us before we accept them (100)"),
    Option("certfile", str, "the TLS certificate"),
    Option("keyfile", str, "the TLS certificate's key"),
    Option("keyfile_password", str, "the password of the key"),
    Option("ca_certs", str, "the certificates of authorities that sign clients' certificates"),
    Option("ciphers", str, "the TLS ciphers, in OpenSSL's words"),
    Option("verify_mode", _verify_mode, "whether clients need a certificate: CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED"),
    Option("accesslog", str, "where to log requests: a file, or - for the standard output", flag="access-logfile"),
    Option("access_log_format", str, "json, or a format of Hypercorn's", flag="access-logformat"),
    Option("errorlog", str, "where to log what happens: a file, or - for the standard error", flag="error-logfile"),
    Option("loglevel", str, "debug, info, warning, error or critical (info)", flag="log-level"),
    Option("logconfig", str, "a logging configuration: a file, json:file or toml:file", flag="log-config"),
    Option("statsd_host", str, "host:port of a statsd server"),
    Option("statsd_prefix", str, "what the names of statistics begin with"),
    Option("root_path", str, "the prefix of all paths behind a proxy, as ASGI has it"),
    Option("server_names", _list, "a host name to serve, others get a 404; may be repeated", flag="server-name"),
    Option("websocket_max_message_size", _positive, "bytes of a message that a WebSocket's peer may send (16777216)"),
    Option("websocket_ping_interval", _seconds, "seconds between pings to WebSocket clients, who must answer (none)"),
    Option("pid_path", str, "a file for this process's id", "-p", "pid"),
    Option("user", _count, "the owner of UNIX sockets, by number", "-u"),
    Option("group", _count, "the group of UNIX sockets, by number", "-g"),
    Option("umask", _octal, "the permission bits to take from UNIX sockets, octal", "-m"),
    Option("debug", _switch, "log more"),
)  # fmt: skip


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> ServerConfig:
    """The configuration of a command line, an environment, and the TOML file that they name.

    Raises:
        UsageError: if an option is unknown, or a value not valid.
        SystemExit: by ``argparse``, after its help or error message.
    """
    given = vars(_parser().parse_args(arguments))
    config = ServerConfig()
    if "application" not in given:
        found = [f"trioweb run {target}" for target in apps_here()[:3]]
        raise UsageError(f"name the app: {' or '.join(found) or 'trioweb run app:app, for `app = App()` in app.py'}")
    config.application_path = given.pop("application")
    path = given.pop("config") or environment.get(PREFIX + "CONFIG")
    if path:
        _read_toml(config, path)
    for option in OPTIONS:
        key = PREFIX + option.name.upper()
        if option.name in given:
            setattr(config, option.name, given[option.name])
        elif key in environment:
            setattr(config, option.name, _parse(option, environment[key], key))
    _check(config)
    return config


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trioweb run",
        description="Serve an app: Hypercorn's protocols, in trio workers that contain faults and are supervised.",
        epilog=f"Each option can also be set in the environment ({PREFIX}WORKERS=2) and in the TOML file "
        "(workers = 2), there with any other name of Hypercorn's configuration. In brackets: the default.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "application", metavar="module:app", nargs="?", help="the module, or its file, and the app in it"
    )
    parser.add_argument("-c", "--config", default=None, metavar="FILE", help="a TOML file of options")
    for option in OPTIONS:
        flags = [flag for flag in (option.short, option.long) if flag]
        if option.parse is _switch:
            parser.add_argument(*flags, dest=option.name, action="store_true", help=option.help)
        elif option.parse is _list:
            parser.add_argument(*flags, dest=option.name, action="append", metavar="TEXT", help=option.help)
        else:
            metavar = "TEXT" if option.parse in (str, _verify_mode, _http) else "NUMBER"
            kind = partial(_parse_argument, option)
            parser.add_argument(*flags, dest=option.name, type=kind, metavar=metavar, help=option.help)
    return parser


def _parse_argument(option: Option, text: str) -> object:
    try:
        return _parse(option, text, option.long)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parse(option: Option, text: str, source: str) -> object:
    try:
        return option.parse(text)
    except (ValueError, KeyError):
        raise UsageError(f"{source} must be {_EXPECTED[option.parse]}, got {text!r}") from None


def _read_toml(config: ServerConfig, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            found = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path!r}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the configuration {path!r} is not TOML: {error}") from error
    options = {option.name: option for option in OPTIONS}
    known = {name for name in dir(ServerConfig) if not name.startswith("_")}
    for name, value in found.items():
        if name not in known:
            import difflib  # noqa: PLC0415 - only for an error message

            near = difflib.get_close_matches(name, known, 1)
            raise UsageError(f"{path}: there is no option {name!r}{f': did you mean {near[0]!r}?' if near else ''}")
        option = options.get(name)
        if option is None or isinstance(value, (list, bool)) or (option.parse is _octal and isinstance(value, int)):
            setattr(config, name, value)
        else:
            setattr(config, name, _parse(option, str(value), f"{path}: {name}"))


def _check(config: ServerConfig) -> None:
    for name in ("certfile", "keyfile", "ca_certs"):
        path = getattr(config, name)
        if path is not None and not os.access(path, os.R_OK):
            raise UsageError(f"--{name.replace('_', '-')}: cannot read {path!r}")
    if (config.certfile is None) != (config.keyfile is None):
        raise UsageError("TLS needs both --certfile and --keyfile")
    if config.use_reloader and config.workers == 0:
        raise UsageError("--reload needs a worker to replace: leave out --workers 0")
    if config.quic_bind and not config.ssl_enabled:
        raise UsageError("--quic-bind needs TLS: give --certfile and --keyfile")
