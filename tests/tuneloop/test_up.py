"""`manage.py up`: serves, restarts what dies, and leaves nothing behind."""

import http.cookiejar
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from tests.homes import ROOT, newcomer, temporary_home
from tests.waiting import crowd
from tuneloop.embedded.locks import is_locked
from tuneloop.embedded.paths import run_file

pytestmark = pytest.mark.slow
SERVICES = ("postgres", "valkey")


class Up:
    """One `up` in a process of its own."""

    def __init__(self, manage: list[str], env: dict[str, str], port: int) -> None:
        self.home = Path(env["TUNELOOP_HOME"])
        self.address = f"http://127.0.0.1:{port}/"
        self.command = [*manage, "up", "--port", str(port)]
        self.env = env
        self.said = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if "Ctrl-C" in line:
                return
        raise AssertionError(self.said)

    def send(self, sig: signal.Signals) -> int:
        """Sends a signal and returns the exit status."""
        assert self.process is not None
        self.process.send_signal(sig)
        self.said += self.process.communicate(timeout=60)[0]
        return self.process.returncode

    def is_serving(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.address}admin/login/", timeout=5).close()
        except OSError:
            return False
        return True

    def queue(self) -> Queue:
        url = run_file(self.home, "valkey.url")
        assert eventually(url.exists, within_s=10), "its keeper was killed just before"
        connection = redis.Redis.from_url(url.read_text())
        return Queue("default", connection=connection, serializer=JSONSerializer)

    def processes(self) -> list[psutil.Process]:
        """Everything alive that was started for this data folder.

        Valkey and PostgreSQL write over their environment: the command line names the
        folder of the one, and the locks tell of all their processes.
        """
        found = []
        for process in psutil.process_iter():
            try:
                home = process.environ().get("TUNELOOP_HOME")
                named = str(self.home) in " ".join(process.cmdline())
                zombie = process.status() == psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if (home == str(self.home) or named) and not zombie:
                found.append(process)
        return found

    def find(self, *words: str) -> list[psutil.Process]:
        return [p for p in self.processes() if all(w in command(p) for w in words)]

    def remains(self) -> list[str]:
        locked = [s for s in SERVICES if is_locked(run_file(self.home, f"{s}.data"))]
        return [" ".join(command(p)) for p in self.processes()] + locked


def command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []  # it has just ended


class StayHere(urllib.request.HTTPRedirectHandler):
    """Shows a redirect instead of following it."""

    def redirect_request(self, *args: object) -> None:
        return None


def eventually(holds: Callable[[], bool], *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s * crowd()
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """One data folder for the module; each test leaves `up` running or starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with temporary_home() as home:
        up = Up([sys.executable, str(ROOT / "manage.py")], newcomer(home), port)
        try:
            up.start()
            yield up
        finally:
            if up.process is not None and up.process.poll() is None:
                up.send(signal.SIGTERM)
            for process in up.processes():
                process.kill()


@pytest.fixture
def running(up: Up) -> Up:
    if up.process is None or up.process.poll() is not None:
        up.start()
    return up


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def start_long_job(up: Up) -> psutil.Process:
    """Has the worker run a program for minutes, as a training does."""
    up.queue().enqueue("subprocess.call", ["sleep", "307"], job_timeout=600)
    assert eventually(lambda: len(up.find("sleep", "307")) == 1, within_s=20)
    return up.find("sleep", "307")[0]


def test_the_first_login_opens_the_admin(up: Up) -> None:
    assert up.address in up.said
    found = re.search(r"First login: admin / (\S+)", up.said)
    assert found, up.said

    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(jar), StayHere()
    )
    browser.open(f"{up.address}admin/login/").close()
    token = next(cookie.value for cookie in jar if cookie.name == "csrftoken")
    form = {
        "username": "admin",
        "password": found[1],
        "csrfmiddlewaretoken": token,
        "next": "/admin/",
    }
    body = urllib.parse.urlencode(form).encode()
    with pytest.raises(urllib.error.HTTPError) as answer:
        browser.open(f"{up.address}admin/login/", body)
    assert answer.value.code == 302  # 200 shows the form again
    assert answer.value.headers["Location"] == "/admin/"


def test_a_second_up_says_so_and_leaves_the_first_alone(running: Up) -> None:
    done = subprocess.run(
        running.command, env=running.env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert running.address in done.stderr
    assert running.is_serving()


def test_a_command_beside_it_uses_its_servers(running: Up) -> None:
    before = run_file(running.home, "postgres.url").stat().st_mtime_ns
    manage = running.command[:-3]
    done = subprocess.run(
        [*manage, "doctor"], env=running.env, capture_output=True, text=True
    )
    assert re.search(r"ok +workers +2 run", done.stdout), done.stdout
    assert done.returncode == 0, done.stdout
    assert run_file(running.home, "postgres.url").stat().st_mtime_ns == before
    assert running.is_serving()


def test_the_scheduler_enqueues_and_the_worker_works(running: Up) -> None:
    log = running.home / "logs" / "worker.log"
    done = "Successfully completed training.jobs.sweep"
    before = log.read_text().count(done)
    assert eventually(lambda: log.read_text().count(done) > before, within_s=25)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("rqworker",), id="worker"),
        pytest.param(("scheduler",), id="scheduler"),
        pytest.param(("tuneloop.wsgi:application",), id="web"),
        pytest.param(("tuneloop.embedded.keeper", "postgres"), id="postgres"),
        pytest.param(("tuneloop.embedded.keeper", "valkey"), id="valkey"),
    ],
)
def test_what_is_killed_comes_back(running: Up, words: tuple[str, ...]) -> None:
    assert eventually(lambda: bool(running.find(*words)), within_s=10)
    # The oldest: of the web's processes the one that started the others.
    killed = min(running.find(*words), key=psutil.Process.create_time)
    children = killed.children(recursive=True)
    killed.kill()

    def is_back() -> bool:
        return bool(running.find(*words)) and running.is_serving()

    assert eventually(lambda: not is_alive(killed), within_s=2)
    assert eventually(is_back, within_s=20)
    assert eventually(lambda: not any(map(is_alive, children)), within_s=30), "orphans"


def test_a_killed_web_process_is_replaced(running: Up) -> None:
    web = ("tuneloop.wsgi:application",)
    assert eventually(lambda: len(running.find(*web)) == 3, within_s=15)
    master = min(running.find(*web), key=psutil.Process.create_time)
    master.children()[0].kill()
    assert eventually(lambda: len(running.find(*web)) == 2, within_s=30)
    assert eventually(lambda: len(running.find(*web)) == 3, within_s=15)
    assert running.is_serving()


def test_a_killed_worker_takes_its_jobs_process_along(running: Up) -> None:
    sleep = start_long_job(running)
    horse = sleep.parent()
    worker = horse.parent() if horse else None
    assert horse is not None
    assert worker is not None
    assert "rqworker" in command(worker)
    worker.kill()
    assert eventually(lambda: not is_alive(horse), within_s=3)
    sleep.kill()  # a training ends with its parent by itself; this stands for it


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_within_ten_seconds(
    running: Up, sig: signal.Signals
) -> None:
    start_long_job(running)
    began = time.monotonic()
    assert running.send(sig) == 0
    took_s = time.monotonic() - began
    assert running.remains() == []
    assert took_s < 10 * crowd()
    assert "Traceback" not in running.said


@pytest.mark.parametrize("victim", ["up", "supervisord"])
def test_kill_9_leaves_nothing_behind(running: Up, victim: str) -> None:
    assert "First login" not in running.said, "only the first start prints it"
    start_long_job(running)
    assert running.process is not None
    if victim == "up":
        assert running.send(signal.SIGKILL) == -signal.SIGKILL
    else:
        running.find("supervisor.supervisord")[0].kill()
        running.said += running.process.communicate(timeout=60)[0]
        assert running.process.returncode == 1
        assert "process manager ended" in running.said
    assert eventually(lambda: running.remains() == [], within_s=12), running.remains()


def test_a_taken_port_is_named_before_anything_starts(up: Up) -> None:
    if up.process is not None and up.process.poll() is None:
        up.send(signal.SIGTERM)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = subprocess.run(
            [*up.command[:-1], port], env=up.env, capture_output=True, text=True
        )
    assert done.returncode == 1
    assert f"Port {port} cannot be used" in done.stderr
    assert up.remains() == []
