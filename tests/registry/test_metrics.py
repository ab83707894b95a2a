"""What is measured, the sum over processes, and who may read it."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from registry import metrics
from registry.serving import measures
from registry.serving.measures import SECONDS, Histogram, Measures
from tests.homes import ROOT

# A process that measures a request of `sys.argv[1]` ms and writes; then waits for a
# line.
PROCESS = """
import sys, django
django.setup()
from registry import metrics
from registry.serving import measures
measures.count("answers", 3, project="p", version="1", method="model")
measures.took("request", float(sys.argv[1]) / 1000)
measures.gauge("queue_texts", lambda: 2)
metrics.writer.start()
metrics.writer.write()
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.HOME = tmp_path
    return tmp_path / "run" / "measures"


def samples() -> dict[str, float]:
    """Prometheus's own reading of what we write: {name{labels}: value}."""
    text = metrics.exposition().decode()
    return {
        f"{s.name}{sorted(s.labels.items())}": s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def started(home: Path, ms: float) -> "subprocess.Popen[str]":
    paths = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(ms)],
        env={**os.environ, "TUNELOOP_HOME": str(home), "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_percentile_is_off_by_at_most_an_eighth() -> None:
    histogram = Histogram(SECONDS)
    values = [0.001 * 1.01**i for i in range(600)]
    for value in values:
        histogram.add(value)

    for share in (0.1, 0.5, 0.9, 0.99):
        exact = values[int(share * len(values))]
        assert histogram.percentile(share) == pytest.approx(exact, rel=0.125)
    assert Histogram(SECONDS).percentile(0.5) is None
    beyond = Histogram(SECONDS)
    beyond.add(1e6)
    assert beyond.percentile(0.5) == SECONDS[-1]


def test_no_value_is_lost_between_threads() -> None:
    mine = Measures()

    def work() -> None:
        for _ in range(2000):
            mine.count("cache", result="hit")
            mine.took("model", 0.01)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mine.now().counted("cache") == {("hit",): 16_000}
    assert mine.now().histogram("stage_seconds", "model").n == 16_000


def test_what_is_not_declared_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        measures.count("anwsers", project="p", version="1", method="model")
    with pytest.raises(KeyError):
        measures.count("answers", project="p")
    with pytest.raises(KeyError):
        measures.gauge("answers", lambda: 1)


def test_the_minute_forgets_what_is_older(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    mine = Measures()
    for second in range(100):
        clock[0] = 1000.0 + second
        mine.count("cache", 10 if second == 0 else 1, result="hit")
        mine.tick()

    seconds, minute = mine.last_minute()
    assert 59 <= seconds <= 61
    assert minute.counted("cache") == {("hit",): seconds}


def test_a_gauge_that_fails_takes_nothing_down() -> None:
    mine = Measures()
    mine.gauge("journal_bytes", lambda: 1 / 0)
    mine.gauge("queue_texts", lambda: 7)
    assert mine.now().gauges == {("queue_texts",): 7.0}


def test_processes_add_up_and_an_ended_one_takes_no_count_away(folder: Path) -> None:
    home = folder.parents[1]
    first, second = started(home, 3), started(home, 700)
    try:
        both = samples()
        assert both["tuneloop_processes[]"] == 2
        answers = (
            "tuneloop_answers_total"
            "[('method', 'model'), ('project', 'p'), ('version', '1')]"
        )
        assert both[answers] == 6
        assert both["tuneloop_queue_texts[]"] == 4
        n = "tuneloop_stage_seconds_count[('stage', 'request')]"
        assert both[n] == 2
        quick = "tuneloop_stage_seconds_bucket[('le', '0.005'), ('stage', 'request')]"
        slow = "tuneloop_stage_seconds_bucket[('le', '1'), ('stage', 'request')]"
        assert (both[quick], both[slow]) == (1, 2)

        first.kill()
        first.wait()
        for _ in range(2):  # its sums are kept, once
            one = samples()
            assert one["tuneloop_processes[]"] == 1
            assert one[answers] == 6
            assert one[n] == 2
            assert one["tuneloop_queue_texts[]"] == 2
    finally:
        for process in (first, second):
            process.kill()
            process.wait()


def test_where_nobody_lives_counting_begins_anew(folder: Path) -> None:
    process = started(folder.parents[1], 3)
    process.kill()
    process.wait()
    assert samples()["tuneloop_processes[]"] == 0
    assert (folder / "ended.json").exists()

    process = started(folder.parents[1], 3)
    try:
        assert samples()["tuneloop_stage_seconds_count[('stage', 'request')]"] == 1
    finally:
        process.kill()
        process.wait()


def test_a_file_of_another_release_or_half_a_file_is_passed_over(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "1-aa.json").write_text('{"pid": ')
    (folder / "2-bb.json").write_text("[]")
    (folder / "ended.json").write_text(
        '{"counts": [[["tea", "green"], 3], [["cache", "hit"], 4]],'
        ' "histograms": [[["batch_texts"], [1], 1.0]], "gauges": []}'
    )
    read = samples()
    assert read["tuneloop_cache_total[('result', 'hit')]"] == 4
    assert not any("tea" in name for name in read)


def test_nobody_hangs_on_a_process_that_is_frozen(folder: Path) -> None:
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        assert samples()["tuneloop_processes[]"] == 0
        assert time.monotonic() - began < 10


def test_only_this_machine_reads_without_a_token(folder: Path) -> None:
    assert Client(REMOTE_ADDR="127.0.0.1").get("/metrics").status_code == 200
    assert Client(REMOTE_ADDR="10.0.0.7").get("/metrics").status_code == 401
    behind_a_proxy = Client(
        REMOTE_ADDR="127.0.0.1", headers={"Forwarded": "for=8.8.8.8"}
    )
    assert behind_a_proxy.get("/metrics").status_code == 401


def test_the_token_opens_and_nothing_else_does(folder: Path, settings: Any) -> None:
    settings.METRICS_TOKEN = "secret-42"
    here = "127.0.0.1"
    assert Client(REMOTE_ADDR=here).get("/metrics").status_code == 401
    for given in ("Bearer 42", "Bearer é", "Api-Key secret-42", "secret-42"):
        wrong = Client(REMOTE_ADDR=here, headers={"Authorization": given})
        assert wrong.get("/metrics").status_code == 401
    right = Client(REMOTE_ADDR="9.9.9.9", headers={"Authorization": "bearer secret-42"})
    answer = right.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")


def test_probes_need_neither_a_known_host_nor_a_session() -> None:
    pod = Client(SERVER_NAME="10.1.2.3")
    assert pod.get("/healthz").json() == {"status": "ok"}
    assert pod.get("/readyz").json() == {"status": "ready"}
    assert pod.head("/healthz").status_code == 200
    assert pod.post("/healthz").status_code == 405
    assert pod.get("/api/v1/schema/").status_code == 400  # unlike everything else
