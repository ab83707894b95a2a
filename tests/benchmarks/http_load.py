"""Clients of the classify call that cost little: one process, kept connections.

Python's own HTTP clients take as long to ask as the server takes to answer, and on two
cores that time is the server's. This one writes bytes and reads no more of an answer
than it must.
"""

import asyncio
import itertools
import json
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field

PARTS = (
    *("今天", "昨天", "我", "打卡", "出勤", "原料", "批次"),
    *("库存", "付款", "发货", "查询"),
)

Texts = Callable[[int], Iterator[str]]
"""From a client's number to its questions."""


def new_texts(seed: int) -> Iterator[str]:
    """Chinese questions of 8 to 14 characters, none twice."""
    rng = random.Random(seed)
    for n in itertools.count():
        yield "".join(rng.choices(PARTS, k=rng.randrange(3, 5))) + f"{seed}{n:x}"


def daily_texts(seed: int) -> Iterator[str]:
    """As people ask: few questions often, many rarely; 300,000 different ones."""
    rng = random.Random(seed)
    while True:
        rank = int(300_000 ** rng.random())  # density 1 / rank
        yield f"{PARTS[rank % 11]}{PARTS[rank // 11 % 11]}{rank:x}怎么办"


@dataclass
class Load:
    """What the clients saw."""

    ms: list[float] = field(default_factory=list)
    """Milliseconds of each answer that was 200."""
    at: list[float] = field(default_factory=list)
    """`time.time()` at which each of them came."""
    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)
    """Request ids of the answers, if they were to be kept."""
    degraded: int = 0
    broken: int = 0
    """Connections that ended without an answer."""
    shed: list[str] = field(default_factory=list)
    """Bodies of the first answers that were not 200."""
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.ms) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds; 0.5 is the median."""
        ordered = sorted(self.ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return self.broken + sum(n for s, n in self.statuses.items() if s != 200)


@dataclass(frozen=True)
class Plan:
    """What to ask, of whom, for how long."""

    port: int
    secret: str
    clients: int
    seconds: float = 1e9
    requests: int = 10**12
    seed: int = 0
    texts: Texts = new_texts
    keeps_ids: bool = False
    path: str = "/api/v1/classify"


def start(plan: Plan) -> "Future[Load]":
    """Runs the clients in a process of their own."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=context)
    future = pool.submit(run, plan)
    pool.shutdown(wait=False)
    return future


def run(plan: Plan) -> Load:
    """Runs the clients here, to the end of the plan."""
    load = Load()
    asyncio.run(_run(plan, load))
    return load


async def _run(plan: Plan, load: Load) -> None:
    left = itertools.count()
    began = time.perf_counter()
    end = began + plan.seconds

    async def client(number: int) -> None:
        texts = plan.texts(plan.seed * 1000 + number)
        wire: _Wire | None = None
        while time.perf_counter() < end and next(left) < plan.requests:
            try:
                wire = wire or await _Wire.open(plan.port)
                body = json.dumps({"text": next(texts)}).encode()
                started = time.perf_counter()
                status, answer = await wire.ask(_head(plan, len(body)) + body)
                took = time.perf_counter() - started
            except OSError:
                load.broken += 1
                wire = None
                await asyncio.sleep(0.02)
                continue
            _note(load, plan, status, answer, took)

    await asyncio.gather(*(client(n) for n in range(plan.clients)))
    load.seconds = time.perf_counter() - began


def _head(plan: Plan, length: int) -> bytes:
    return (
        f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Api-Key {plan.secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def _note(load: Load, plan: Plan, status: int, answer: bytes, took: float) -> None:
    load.statuses[status] += 1
    if status != 200:
        if len(load.shed) < 5:
            load.shed.append(answer.decode(errors="replace"))
        return
    load.ms.append(took * 1000)
    load.at.append(time.time())
    # Cheaper than reading it all as JSON, with each answer.
    load.degraded += b'"degraded":true' in answer.replace(b": ", b":")
    load.versions[_string(answer, b'"version"')] += 1
    if plan.keeps_ids:
        load.ids.append(_string(answer, b'"request_id"'))


def _string(answer: bytes, key: bytes) -> str:
    at = answer.find(key)
    if at < 0:
        return ""
    start = answer.index(b'"', at + len(key)) + 1
    return answer[start : answer.index(b'"', start)].decode()


class _Wire(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time."""

    def __init__(self) -> None:
        self._bytes = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int) -> "_Wire":
        loop = asyncio.get_running_loop()
        _transport, wire = await loop.create_connection(cls, "127.0.0.1", port)
        return wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body; OSError when the connection ends before them."""
        if self._transport is None or self._transport.is_closing():
            raise OSError("closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await asyncio.wait_for(self._answer, 60)
        except TimeoutError as error:
            self._transport.abort()
            raise OSError("no answer within 60 s") from error

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        head, found, body = self._bytes.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) < length or self._answer is None or self._answer.done():
            return
        self._bytes = body[length:]
        self._answer.set_result((int(head[9:12]), body[:length]))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(OSError("the connection ended"))
