"""The options of ``trioweb run``, from the command line, then the environment, then a TOML file.

One table lists them. A name is that of the configuration's attribute, as it is in a TOML file; in the environment with
``TRIOWEB_`` and in capitals; on the command line with dashes.
"""

from __future__ import annotations

import argparse
import math
import os
import ssl
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from trioweb.ground.pace import AUTO
from trioweb.server.config import ServerConfig
from trioweb.server.loading import apps_here

PREFIX: Final = "TRIOWEB_"


class UsageError(argparse.ArgumentTypeError):
    """An option is unknown, or its value not valid. The message says what to write."""


class Kind(NamedTuple):
    """What an option takes.

    Attributes:
        expected: that in words, for messages.
        convert: converts text to a value, or raises ``ValueError`` or ``KeyError``.
        least: the least number.
        words: further values by name.
        metavar: that of the help.
    """

    expected: str
    convert: Callable[[str], Any]
    least: float | None = None
    words: Mapping[str, object] = {}
    metavar: str = "NUMBER"


_COUNT: Final = Kind("a whole number, 0 or more", int, 0)
_POSITIVE: Final = Kind("a whole number, 1 or more", int, 1)
_SECONDS: Final = Kind("a number of seconds", float, 0)
_LIMIT: Final = Kind("a number of seconds, or none", float, 0, {"none": None})
_RATE: Final = Kind(
    "a number of bytes a second above zero, none or auto", float, math.ulp(0), {"none": None, AUTO: AUTO}
)
_OCTAL: Final = Kind("an octal number such as 007", partial(int, base=8))
_SWITCH: Final = Kind(
    "true or false",
    lambda text: {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()],
)
_TEXT: Final = Kind("a text", str, metavar="TEXT")
_LIST: Final = Kind("a list", lambda text: text.split(","), metavar="TEXT")
_VERIFY: Final = Kind("CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED", lambda text: ssl.VerifyMode[text], metavar="TEXT")
_HTTP: Final = Kind("auto or h11", lambda text: {"auto": "auto", "h11": "h11"}[text.lower()], metavar="TEXT")
_OURS: Final = Kind(
    "auto or hypercorn", lambda text: {"auto": "auto", "hypercorn": "hypercorn"}[text.lower()], metavar="TEXT"
)


class Option(NamedTuple):
    """One option.

    Attributes:
        name: the attribute of the configuration.
        kind: what it takes.
        help: one line.
        short: the one-letter flag.
        flag: the long flag without its dashes, if it is not the name.
    """

    name: str
    kind: Kind
    help: str
    short: str = ""
    flag: str = ""

    @property
    def long(self) -> str:
        """The long flag."""
        return "--" + (self.flag or self.name.replace("_", "-"))

    def parse(self, text: str, source: str) -> object:
        """The value of a text.

        Raises:
            UsageError: if it is not valid; ``source`` says where it stands.
        """
        kind, word = self.kind, text.lower()
        with suppress(ValueError, KeyError):
            if word in kind.words:
                return kind.words[word]
            value = kind.convert(text)
            if kind.least is None or value >= kind.least:
                return value
        raise UsageError(f"{source} must be {kind.expected}, got {text!r}")


OPTIONS: Final = (
    Option("bind", _LIST, "where to listen: host:port, [ipv6]:port, unix:path or fd://number; may be repeated", "-b"),
    Option("insecure_bind", _LIST, "where to listen without TLS beside --bind with it; may be repeated"),
    Option("quic_bind", _LIST, "where to listen for HTTP/3, with aioquic and TLS; may be repeated"),
    Option("workers", _COUNT, "processes that serve; 0 to serve in this one, without a supervisor (1)", "-w"),
    Option("use_reloader", _SWITCH, "serve anew when a Python file changes; needs watchfiles", flag="reload"),
    Option("reload_dirs", _LIST, "a directory to watch with --reload (.); may be repeated", flag="reload-dir"),
    Option("http", _HTTP, "who speaks HTTP/1.1: auto for this server, h11 for Hypercorn (auto)"),
    Option("http2", _OURS, "who speaks HTTP/2: auto for this server, without WebSockets; hypercorn (hypercorn)"),
    Option("websocket", _OURS, "who speaks WebSockets: auto for this server, hypercorn for Hypercorn (auto)"),
    Option("h2c", _SWITCH, "upgrade HTTP/1.1 to HTTP/2 in clear where a client asks for it (no)"),
    Option("max_connections", _POSITIVE, "connections a worker serves at once; more wait (3/4 of its descriptors)"),
    Option("max_requests_in_flight", _POSITIVE, "requests a worker works on at once; more get a 503 (no limit)"),
    Option("head_timeout", _LIMIT, "seconds for the head of a request (10)"),
    Option("body_timeout", _LIMIT, "seconds that a request body may not come while the app waits for it (120)"),
    Option("min_rate", _RATE, "bytes a second that a client must send or take; none; or auto, as the app says (auto)"),
    Option("keep_alive_timeout", _SECONDS, "seconds that a connection may be idle (5)", flag="keep-alive"),
    Option("read_timeout", _LIMIT, "seconds that a connection may send nothing, whatever is under way (none)"),
    Option("tcp_keep_alive", _COUNT, "seconds of silence before the system probes a connection; 0 for never (60)"),
    Option("graceful_timeout", _SECONDS, "seconds that a stop leaves to requests in flight (3)"),
    Option("startup_timeout", _SECONDS, "seconds for the app's lifespan to start (60)"),
    Option("shutdown_timeout", _SECONDS, "seconds for the app's lifespan to clean up (60)"),
    Option("ssl_handshake_timeout", _SECONDS, "seconds for a TLS handshake (10)"),
    Option("max_requests", _POSITIVE, "requests after which a worker is replaced (no limit)"),
    Option("max_requests_jitter", _COUNT, "a random part that is added to --max-requests, for each worker (0)"),
    Option("backlog", _POSITIVE, "connections that the system holds for us before we accept them (100)"),
    Option("certfile", _TEXT, "the TLS certificate"),
    Option("keyfile", _TEXT, "the TLS certificate's key"),
    Option("keyfile_password", _TEXT, "the password of the key"),
    Option("ca_certs", _TEXT, "the certificates of authorities that sign clients' certificates"),
    Option("ciphers", _TEXT, "the TLS ciphers, in OpenSSL's words"),
    Option("verify_mode", _VERIFY, "whether clients need a certificate: CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED"),
    Option("accesslog", _TEXT, "where to log requests: a file, or - for the standard output", flag="access-logfile"),
    Option("access_log_format", _TEXT, "json, or a format of Hypercorn's", flag="access-logformat"),
    Option("errorlog", _TEXT, "where to log what happens: a file, or - for the standard error", flag="error-logfile"),
    Option("loglevel", _TEXT, "debug, info, warning, error or critical (info)", flag="log-level"),
    Option("logconfig", _TEXT, "a logging configuration: a file, json:file or toml:file", flag="log-config"),
    Option("statsd_host", _TEXT, "host:port of a statsd server"),
    Option("statsd_prefix", _TEXT, "what the names of statistics begin with"),
    Option("root_path", _TEXT, "the prefix of all paths behind a proxy, as ASGI has it"),
    Option("server_names", _LIST, "a host name to serve, others get a 404; may be repeated", flag="server-name"),
    Option("websocket_max_message_size", _POSITIVE, "bytes of a message that a WebSocket's peer may send (16777216)"),
    Option("websocket_ping_interval", _SECONDS, "seconds between pings to WebSocket clients, who must answer (none)"),
    Option("websocket_compression", _SWITCH, "compress the messages of WebSockets whose clients offer it (no)"),
    Option("pid_path", _TEXT, "a file for this process's id", "-p", "pid"),
    Option("user", _COUNT, "the owner of UNIX sockets, by number", "-u"),
    Option("group", _COUNT, "the group of UNIX sockets, by number", "-g"),
    Option("umask", _OCTAL, "the permission bits to take from UNIX sockets, octal", "-m"),
    Option("debug", _SWITCH, "log more"),
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
            setattr(config, option.name, option.parse(environment[key], key))
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
        if option.kind is _SWITCH:
            how: dict[str, Any] = {"action": "store_true"}
        elif option.kind is _LIST:
            how = {"action": "append", "metavar": option.kind.metavar}
        else:
            how = {"type": partial(option.parse, source=option.long), "metavar": option.kind.metavar}
        parser.add_argument(*filter(None, (option.short, option.long)), dest=option.name, help=option.help, **how)
    return parser


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
        if option is None or isinstance(value, (list, bool)) or (option.kind is _OCTAL and isinstance(value, int)):
            setattr(config, name, value)
        else:
            setattr(config, name, option.parse(str(value), f"{path}: {name}"))


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
