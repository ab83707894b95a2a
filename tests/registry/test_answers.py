"""What the model said lately: bounded, by least use, and safe among threads."""

import threading

from registry.serving.answers import Recent


def test_the_least_lately_used_is_dropped() -> None:
    recent: Recent[int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert [recent.get(text) for text in "abc"] == [1, None, 3]
    assert len(recent) == 2


def test_nothing_is_kept_where_nothing_may_be() -> None:
    recent: Recent[int] = Recent(0)
    recent.put("a", 1)
    assert recent.get("a") is None


def test_many_threads() -> None:
    recent: Recent[str] = Recent(50)
    wrong: list[str] = []

    def use(n: int) -> None:
        for i in range(2000):
            text = str((i * n) % 80)
            found = recent.get(text)
            if found not in (None, text):
                wrong.append(text)
            recent.put(text, text)

    threads = [threading.Thread(target=use, args=[n]) for n in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(recent) <= 50
