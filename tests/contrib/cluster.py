"""A PostgreSQL of the tests' own: a fresh cluster in a directory of its own, on a UNIX socket and a port of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from tests.servers import PATIENCE, reserve_port


class Cluster:
    """A cluster that runs until ``stop``. PostgreSQL refuses to run as root: then it runs as ``postgres``."""

    def __init__(self) -> None:
        self._as: dict[str, Any] = {} if os.geteuid() else {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._directory = Path(tempfile.mkdtemp(prefix="pg-"))  # a path of a socket is at most 107 bytes long
        self._log = self._directory / "log"
        if self._as:
            shutil.chown(self._directory, "postgres", "postgres")
        self._directory.chmod(0o755)
        self._reserved = reserve_port()
        self.port: int = self._reserved.getsockname()[1]
        data = self._directory / "data"
        self._run(find_programs() / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it can be used."""
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self._directory,
            "fsync": "off",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [find_programs() / "postgres", "-D", self._directory / "data", *options],
                stdout=log, stderr=log, cwd=self._directory, **self._as,
            )  # fmt: skip
        self._wait_until_ready()

    def halt(self) -> None:
        """End it without waiting for its clients, which lose their connections."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)

    def restart(self) -> None:
        """End it, and start it again."""
        self.halt()
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        """What tells libpq where it is."""
        return {
            "PGHOST": str(self._directory),
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "PGDATABASE": "postgres",
        }

    @property
    def conninfo(self) -> str:
        """The same in a line."""
        return f"host={self._directory} port={self.port} user=postgres dbname=postgres"

    def wait_for_sessions(self, name: str, count: int, query: str = "%") -> None:
        """Wait until so many sessions of an application are there, with a query like this one."""
        counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND query LIKE %s"
        end = time.monotonic() + PATIENCE
        with psycopg.connect(self.conninfo, autocommit=True, application_name="watcher") as connection:
            while (found := connection.execute(counted, [name, query]).fetchall()) != [(count,)]:
                assert time.monotonic() < end, f"{found} sessions of {name}, and not {count}"
                time.sleep(0.01)

    def sessions(self, name: str) -> set[int]:
        """The processes of the sessions of an application."""
        with psycopg.connect(self.conninfo, application_name="watcher") as connection:
            found = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", [name])
            return {row[0] for row in found}

    def stop(self) -> None:
        """Stop it, and remove all that it had."""
        self.halt()
        self._reserved.close()
        shutil.rmtree(self._directory)

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self._directory, **self._as)
        assert done.returncode == 0, done.stdout + done.stderr

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.conninfo).close()
            except psycopg.OperationalError:
                assert time.monotonic() < end, self._log.read_text()
                assert self.process.poll() is None, self._log.read_text()
                time.sleep(0.02)
            else:
                return


def find_programs() -> Path:
    """Where PostgreSQL's programs are: Debian keeps them off the path, a directory for each version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("postgres")
    assert found or on_path, "these tests need PostgreSQL: install Debian's package postgresql, or put it on the path"
    return found[-1].parent if found else Path(str(on_path)).resolve().parent
