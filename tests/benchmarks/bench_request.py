"""What a classify call costs beside the model: CPU time in one web process.

    python tests/benchmarks/bench_request.py [--requests 2000] [--artifact FOLDER]

Runs the web process's own application here, one request after the other, without a
network: through Django and REST framework, and through the lean lane. A tiny model, of
which `engine` shows the cost, stands for the real one. PostgreSQL's own time is not
part of any number; `behind` is the time of this process's other threads: gold labels,
the journal on its way to the database, the listener.
"""

import argparse
import io
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]


def measure(name: str, run: Callable[[int], object], n: int) -> None:
    """Prints the CPU time and the time that one call of `run` takes."""
    for i in range(n // 10):
        run(-i)
    own, every, clock = time.thread_time(), time.process_time(), time.perf_counter()
    took = []
    for i in range(n):
        began = time.perf_counter()
        run(i)
        took.append(time.perf_counter() - began)
    own = time.thread_time() - own
    every = time.process_time() - every
    clock = time.perf_counter() - clock
    print(
        f"{name:34} {own / n * 1e6:8.0f} {(every - own) / n * 1e6:8.0f}"
        f" {sorted(took)[n // 2] * 1e6:8.0f}"
    )


def asks(application: Any, secret: str) -> Callable[[int], None]:
    """A client of a WSGI application; no question comes twice."""
    numbers = itertools.count()
    statuses: list[str] = []

    def start(status: str, headers: Any, exc_info: Any = None) -> None:
        statuses.append(status)

    def ask(_i: int) -> None:
        body = json.dumps({"text": f"原料批次库存查询 w3 {next(numbers)}"}).encode()
        answer = application(_environ(secret, body), start)
        b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        if statuses.pop() != "200 OK":
            raise SystemExit(answer)

    return ask


def _environ(secret: str, body: bytes) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/v1/classify",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_AUTHORIZATION": f"Api-Key {secret}",
        "HTTP_ACCEPT": "*/*",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def parts(secret: str) -> Iterator[tuple[str, Callable[[int], object]]]:
    """The steps of a request, one by one."""
    from labeling.access import hash_key
    from labeling.normalise import text_hash
    from registry.serving import engine, gold, keys, limits
    from registry.serving.ask import ask

    caller = keys.find(hash_key(secret))
    assert caller is not None
    key, target = caller
    project = target.project.pk
    yield "key", lambda i: keys.find(hash_key(secret))
    key.rate_limit = 10**9

    def admit(i: int) -> None:
        with limits.admitted(key, 1):
            pass

    yield "limits, with a rate", admit
    key.rate_limit = None
    yield "gold label", lambda i: gold.find(project, [text_hash(f"g{i}")])
    yield (
        "engine without gold",
        lambda i: engine.classify(target, [f"e{i} w3"], use_gold=False),
    )
    yield "engine", lambda i: engine.classify(target, [f"g{i} w3"])
    yield "engine and journal", lambda i: ask(target, [f"a{i}"], top_k=3, client=key)


def bench(served: Any, n: int) -> None:
    os.environ["TUNELOOP_ROLE"] = "web"
    from django.core.wsgi import get_wsgi_application

    from registry.api.lane import Lane
    from registry.serving import journal, listener

    django = get_wsgi_application()
    listener.start()
    while not listener.is_ready():
        time.sleep(0.05)
    print(f"{'µs a request':34} {'CPU':>8} {'behind':>8} {'p50':>8}")
    measure("Django and REST framework", asks(django, served.secret), n)
    measure("lean lane", asks(Lane(django), served.secret), n)
    for name, run in parts(served.secret):
        measure(f"  {name}", run, n)
    # Before the database is.
    journal.close()
    listener.listener.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    from tests.benchmarks.served import served

    with served(options.artifact) as one:
        bench(one, options.requests)


if __name__ == "__main__":
    main()
