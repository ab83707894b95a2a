"""The batcher: no wait when idle, batches under load, one bad text harms no other."""

import contextlib
import threading
from collections.abc import Callable, Sequence

import pytest

from registry.serving.batcher import Batcher, Interrupted

WAIT_S = 10

Texts = Batcher[str, str]


class Model:
    """Doubles words; stands still while `gate` is closed; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.running = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, texts: Sequence[str]) -> list[str]:
        self.batches.append(list(texts))
        self.running.release()
        assert self.gate.wait(WAIT_S)
        if "poison" in texts:
            raise ValueError("poison")
        return [text * 2 for text in texts]


def start(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def batched(model: Callable[[Sequence[str]], list[str]], *, most: int = 32) -> Texts:
    """A batcher that bounds the number of texts."""
    return Batcher(model, size=lambda text: 1, most=most)


def gather(batcher: Texts, requests: list[list[str]]) -> list[object]:
    """Answers or errors of requests that all wait while an earlier one runs."""
    model = batcher._run
    assert isinstance(model, Model)
    model.gate.clear()
    results: list[object] = [None] * len(requests)

    def ask(i: int) -> None:
        try:
            results[i] = batcher(requests[i])
        except ValueError as error:
            results[i] = error

    threads = [start(lambda: batcher(["first"]))]
    assert model.running.acquire(timeout=WAIT_S)
    for i in range(len(requests)):
        threads.append(start(lambda i=i: ask(i)))
        while len(batcher._waiting) <= i:  # in this order
            threading.Event().wait(0.001)
    model.gate.set()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    return results


def test_alone_a_request_runs_at_once_in_its_own_thread() -> None:
    threads = []
    batcher = Batcher(
        lambda texts: [threads.append(threading.get_ident())] * len(texts),
        size=len,
        most=8,
    )
    batcher(["a"])
    assert threads == [threading.get_ident()]
    assert batcher([]) == []


def test_what_waits_runs_as_one_batch() -> None:
    model = Model()
    requests = [[f"t{i}"] for i in range(8)]
    assert gather(batched(model), requests) == [[f"t{i}t{i}"] for i in range(8)]
    assert model.batches == [["first"], [f"t{i}" for i in range(8)]]


def test_a_batch_is_bounded_and_a_large_request_takes_turns() -> None:
    model = Model()
    large = [f"l{i}" for i in range(10)]
    results = gather(batched(model, most=4), [large, ["s1"], ["s2"]])
    assert results == [[t * 2 for t in large], ["s1s1"], ["s2s2"]]
    assert model.batches[1:] == [
        ["l0", "l1", "l2", "l3"],
        ["s1", "s2", "l4", "l5"],
        ["l6", "l7", "l8", "l9"],
    ]


def test_a_batch_is_bounded_by_the_size_of_its_texts() -> None:
    model = Model()
    batcher: Texts = Batcher(model, size=len, most=6)
    requests = [["aaa", "bb"], ["ccc"], ["dddddddd"], ["e", "ffffff"]]
    results = gather(batcher, requests)
    assert results == [[text * 2 for text in own] for own in requests]
    # In their order; what is too large for any batch runs alone.
    assert model.batches[1:] == [
        ["aaa", "bb"],
        ["ccc"],
        ["dddddddd"],
        ["e"],
        ["ffffff"],
    ]


def test_who_waits_is_counted() -> None:
    model = Model()
    batcher = batched(model)
    model.gate.clear()
    threads = [start(lambda: batcher(["first"]))]
    assert model.running.acquire(timeout=WAIT_S)
    threads.append(start(lambda: batcher(["a", "b"])))
    while not batcher._waiting:
        threading.Event().wait(0.001)
    assert batcher.waiting() == 2
    model.gate.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert batcher.waiting() == 0


def test_only_the_request_with_the_bad_text_fails() -> None:
    model = Model()
    results = gather(batched(model), [["a"], ["poison"], ["b"]])
    assert results[0] == ["aa"]
    assert isinstance(results[1], ValueError)
    assert results[2] == ["bb"]
    assert batched(model)(["after"]) == ["afterafter"]


def test_a_bad_text_alone_raises_what_the_model_raised() -> None:
    with pytest.raises(ValueError, match="poison"):
        batched(Model())(["poison"])


def test_a_leader_that_is_told_to_end_leaves_the_others_to_an_heir() -> None:
    model = Model()
    calls: list[int] = []

    def run(texts: Sequence[str]) -> list[str]:
        calls.append(len(texts))
        rows = model(texts)
        if len(calls) == 1:
            raise SystemExit
        return rows

    batcher = batched(run)
    model.gate.clear()

    def lead() -> None:
        with contextlib.suppress(SystemExit):
            batcher(["first"])

    leader = start(lead)
    assert model.running.acquire(timeout=WAIT_S)
    got: list[object] = []
    others = [start(lambda t=t: got.append(batcher([t]))) for t in ("a", "b")]
    while len(batcher._waiting) < 2:
        threading.Event().wait(0.001)
    model.gate.set()
    for thread in (leader, *others):
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert sorted(map(str, got)) == ["['aa']", "['bb']"]


def test_many_threads_get_their_own_answers() -> None:
    model = Model()
    batcher = batched(model, most=5)
    wrong: list[object] = []

    def ask(n: int) -> None:
        for i in range(50):
            texts = [f"{n}.{i}.{j}" for j in range(1 + i % 7)]
            if batcher(texts) != [t * 2 for t in texts]:
                wrong.append(texts)

    threads = [start(lambda n=n: ask(n)) for n in range(8)]
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert not wrong
    assert max(map(len, model.batches)) <= 5
    assert sum(map(len, model.batches)) == 8 * sum(1 + i % 7 for i in range(50))


def after_load(*, gather_s: float) -> tuple[Texts, Model]:
    """A batcher that has just run a batch of four requests."""
    model = Model()
    batcher: Texts = Batcher(model, size=lambda text: 1, most=4, gather_s=gather_s)
    gather(batcher, [[f"text {n}"] for n in range(4)])
    return batcher, model


def test_under_load_a_batch_waits_for_as_many_as_the_one_before() -> None:
    batcher, model = after_load(gather_s=60)
    threads = []
    for n, text in enumerate("abcd"):
        threads.append(start(lambda t=text: batcher([t])))
        while n < 3 and len(batcher._waiting) <= n:
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert model.batches[-1] == ["a", "b", "c", "d"]


def test_under_load_a_batch_waits_no_longer_than_it_may() -> None:
    batcher, model = after_load(gather_s=0.05)
    assert batcher(["alone"]) == ["alonealone"]
    assert model.batches[-1] == ["alone"]
    assert batcher(["again"]) == ["againagain"]  # a batch of one was no load


def test_who_finds_the_model_idle_waits_for_nobody() -> None:
    batcher, model = after_load(gather_s=60)
    batcher._ended_at -= 61
    thread = start(lambda: batcher(["alone, after the load"]))
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert model.batches[-1] == ["alone, after the load"]


class Follow:
    """What follows a model's rows; remembers what was done, and by which thread."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.threads: set[int] = set()

    def begin(self, rows: list[str]) -> Callable[[], str]:
        (row,) = rows
        self._do("begin", row)
        return lambda: self._do("end", row)

    def _do(self, what: str, row: str) -> str:
        self.done.append((what, row))
        self.threads.add(threading.get_ident())
        if row == what * 2:
            raise KeyError(what)
        if row == f"stop {what}" * 2:
            raise SystemExit
        return f"{row}!"


class Following(Batcher[str, str]):
    """A batcher whose requests all go on in the same way."""

    def __init__(self, follow: Follow) -> None:
        super().__init__(Model(), size=lambda text: 1, most=32)
        self.follow = follow

    def __call__(self, items: Sequence[str]) -> list[str]:
        try:
            return [self.then(items, self.follow.begin)]
        except KeyError as error:
            return [repr(error)]


def test_a_batch_goes_on_together_one_half_after_the_other() -> None:
    follow = Follow()
    results = gather(Following(follow), [["a"], ["b"], ["c"]])
    assert results == [["aa!"], ["bb!"], ["cc!"]]
    rows = ["aa", "bb", "cc"]
    assert follow.done[2:] == [
        *(("begin", row) for row in rows),
        *(("end", row) for row in rows),
    ]
    assert len(follow.threads) == 2  # "first" and who led the batch


def test_what_follows_fails_for_its_own_request_only() -> None:
    follow = Follow()
    results = gather(Following(follow), [["a"], ["begin"], ["end"], ["b"]])
    assert results == [["aa!"], ["KeyError('begin')"], ["KeyError('end')"], ["bb!"]]
    assert ("end", "beginbegin") not in follow.done


@pytest.mark.parametrize("half", ["begin", "end"])
def test_who_is_told_to_end_halfway_leaves_nobody_waiting(half: str) -> None:
    follow = Follow()
    batcher = Following(follow)
    got: list[object] = []

    def ask(text: str) -> None:
        try:
            got.append(batcher.then([text], follow.begin))
        except BaseException as error:
            got.append(type(error))

    model = batcher._run
    assert isinstance(model, Model)
    model.gate.clear()
    threads = [start(lambda: ask("first"))]
    assert model.running.acquire(timeout=WAIT_S)
    for n, text in enumerate((f"stop {half}", "a", "b")):
        threads.append(start(lambda t=text: ask(t)))
        while len(batcher._waiting) <= n:
            threading.Event().wait(0.001)
    model.gate.set()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert sorted(map(str, got)) == sorted(
        map(str, ["firstfirst!", SystemExit, Interrupted, Interrupted])
    )
    assert batcher(["after"]) == ["afterafter!"]
