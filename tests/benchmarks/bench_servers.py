"""Web servers and numbers of threads compared, by the CPU time of one request.

    python tests/benchmarks/bench_servers.py [--seconds 5] [NAME ...]

Each of them runs the same application with two processes: granian by its WSGI interface
with several numbers of threads and by its ASGI one; and, where they are installed,
gunicorn with threads and uvicorn with a pool of threads (`pip install gunicorn
uvicorn`). The CPU time is that of all the server's processes together, so that what
else the machine does weighs little on it; requests a second are shown beside it.
"""

import argparse
import contextlib
import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

PROCESSES = 2
CLIENTS = (1, 32)
THREADS = (8, 16, 32, 64, 272)


def commands(port: int) -> Iterator[tuple[str, list[str]]]:
    """Names and command lines."""
    address = f"127.0.0.1:{port}"
    granian = [
        *(sys.executable, "-m", "granian", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", str(PROCESSES), "--no-ws", "--log-level", "warning"),
    ]
    for threads in THREADS:
        yield (
            f"granian wsgi, {threads} threads",
            [
                *(*granian, "--interface", "wsgi", "--blocking-threads", str(threads)),
                "tuneloop.wsgi:application",
            ],
        )
    if importlib.util.find_spec("gunicorn"):
        yield (
            "gunicorn gthread, 32 threads",
            [
                *(sys.executable, "-m", "gunicorn", "--workers", str(PROCESSES)),
                *("--worker-class", "gthread", "--threads", "32", "--bind", address),
                *("--keep-alive", "60", "tuneloop.wsgi:application"),
            ],
        )
    asgi = "tests.benchmarks.asgi_side:application"
    yield "granian asgi, 32 threads", [*granian, "--interface", "asgi", asgi]
    if importlib.util.find_spec("uvicorn"):
        yield (
            "uvicorn, 32 threads",
            [
                *(sys.executable, "-m", "uvicorn", "--workers", str(PROCESSES)),
                *("--port", str(port), "--no-access-log", asgi),
            ],
        )


def cpu_seconds(process: psutil.Process) -> float:
    """Of a process and its descendants, so far."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def measure(name: str, command: list[str], port: int, served: Any, s: float) -> None:
    """Runs one server and prints its line."""
    from tests.benchmarks import http_load
    from tuneloop import web

    log = (served.home / "web.log").open("wb")
    process = subprocess.Popen(
        command, env=web.environment(), stdout=log, stderr=log, cwd=ROOT
    )
    try:
        wait(port, served.secret)
        parts = []
        for clients in CLIENTS:
            plan = http_load.Plan(port, served.secret, clients, s, seed=clients)
            before = cpu_seconds(psutil.Process(process.pid))
            load = http_load.start(plan).result()
            cpu = cpu_seconds(psutil.Process(process.pid)) - before
            if load.failed:
                raise SystemExit(f"{name}: {load.failed} failed, {load.shed}")
            parts.append(
                f"{cpu / len(load.ms) * 1000:8.2f} {load.rate:8.0f}"
                f" {load.percentile(0.5):8.1f} {load.percentile(0.99):8.1f}"
            )
        print(f"{name:30}" + " |".join(parts), flush=True)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(port: int, secret: str) -> None:
    """Until every process answers from a loaded version."""
    from tests.registry.server import HttpClient

    deadline, good = time.monotonic() + 60, 0
    while good < 12 * PROCESSES:
        if time.monotonic() > deadline:
            raise SystemExit("the server does not start")
        try:
            client = HttpClient(port, secret)  # a new connection, maybe elsewhere
            status, answer = client.post("classify", {"text": "ready?"})
            good = good + 1 if status == 200 and answer["version"] else 0
        except OSError:
            time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names to run")
    parser.add_argument("--artifact", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    from tests.benchmarks.served import served

    with served(options.artifact) as one:
        head = "".join(f"{h:>9}" for h in ("CPU ms", "a second", "p50 ms", "p99 ms"))
        print(f"{'':29}" + "  ".join(f"{head}" for _ in CLIENTS))
        names = [name for name, _command in commands(0)]
        for i, name in enumerate(names):
            if options.names and not any(part in name for part in options.names):
                continue
            port = free_port()
            measure(name, list(commands(port))[i][1], port, one, options.seconds)


if __name__ == "__main__":
    main()
