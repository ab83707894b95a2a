"""A real web server on loopback: granian, two processes, this test's database."""

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from django.db import connection

from registry.models import ServingProcess
from tuneloop import web

_STARTS_S = 60.0


class Server:
    """Where it listens, and which processes serve."""

    def __init__(self, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.port = port
        self.process = process

    def rows(self) -> list[ServingProcess]:
        """What the processes that live say of themselves."""
        cursor = connection.cursor()
        cursor.execute("SELECT now() - interval '2.5 s'")
        return list(ServingProcess.objects.filter(seen_at__gt=cursor.fetchone()[0]))

    def pids(self) -> list[int]:
        """The processes that serve, the oldest first; the database is not asked."""
        alive = psutil.Process(self.process.pid).children()
        return [child.pid for child in sorted(alive, key=psutil.Process.create_time)]

    def is_ready(self) -> bool:
        """Whether whoever takes a connection may be asked."""
        try:
            # Each connection may reach another process.
            return all(
                HttpClient(self.port, "").get("/readyz")[0] == 200
                for _ in range(4 * max(2, len(self.pids())))
            )
        except (OSError, http.client.HTTPException):
            return False

    def client(self, secret: str) -> "HttpClient":
        return HttpClient(self.port, secret)


class HttpClient:
    """One kept connection, as a client app has."""

    def __init__(self, port: int, secret: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {
            "Authorization": f"Api-Key {secret}",
            "Content-Type": "application/json",
        }

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON; raises OSError or HTTPException when the server is gone."""
        try:
            self._connection.request(
                "POST", f"/api/v1/{path}", json.dumps(body), self._headers
            )
            return self.answer()
        except BaseException:
            self._connection.close()  # the next call opens a new one
            raise

    def begin(self, path: str, *, length: int) -> None:
        """Sends the head of a POST on the connection that is there; `end` the body."""
        self._connection.auto_open = 0
        self._connection.putrequest("POST", f"/api/v1/{path}")
        for name, value in {**self._headers, "Content-Length": str(length)}.items():
            self._connection.putheader(name, value)
        self._connection.endheaders()

    def end(self, body: bytes) -> tuple[int, Any]:
        """Sends what `begin` has announced; status and JSON."""
        self._connection.send(body)
        return self.answer()

    def get(self, path: str) -> tuple[int, Any]:
        self._connection.request("GET", path)
        return self.answer()

    def connect(self) -> None:
        """Opens the connection that `begin` needs."""
        self._connection.connect()

    def answer(self) -> tuple[int, Any]:
        """Status and JSON of what was sent."""
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


@contextmanager
def serve(env: dict[str, str], log: Path, *, processes: int = 2) -> Iterator[Server]:
    """Runs the web server until the block ends; yields when every process is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = web.command(host="127.0.0.1", port=port, processes=processes)
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out)
        server = Server(port, process)
        try:
            deadline = time.monotonic() + _STARTS_S
            while not _is_up(server, processes):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(log.read_text(errors="replace")[-3000:])
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_up(server: Server, processes: int) -> bool:
    return len(server.rows()) >= processes and server.is_ready()
