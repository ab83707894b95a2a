"""The batcher: no wait when idle, batches under load, one bad text harms no other."""

import contextlib
import threading
from collections.abc import Callable, Sequence

import pytest

from registry.serving.batcher import Batcher

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


def test_who_finds_the_model_idle_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("registry.serving.batcher.time.sleep", waits.append)
    batcher: Texts = Batcher(Model(), size=lambda text: 1, most=4, gather_s=0.5)
    # Four, and after a moment for more the other four.
    gather(batcher, [[f"text {n}"] for n in range(8)])
    assert waits == [0.5]
    batcher(["alone, after the load"])
    assert waits == [0.5]
