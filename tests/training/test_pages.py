"""Training's pages: who sees them, what they say, what their buttons do."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from labeling.models import Project
from tests.makers import make_person, make_project
from tests.registry.makers import make_version
from tests.training.forms import filled
from tests.training.makers import make_batch, make_trainable
from training import batches
from training.batches import ownership
from training.models import TrainingBatch

pytestmark = pytest.mark.django_db

State = TrainingBatch.State


def as_person(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def project() -> Project:
    return make_trainable()


@pytest.fixture
def mia(project: Project) -> Client:
    return as_person(make_person("mia", project))


def page(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path)
    assert response.status_code == status, response
    return response.content.decode()


def test_only_managers_of_the_project_see_its_pages(
    project: Project, base: str
) -> None:
    batch = make_batch(project, base)
    paths = (
        f"/train/{project.slug}/",
        f"/train/batches/{batch.pk}/",
        f"/train/batches/{batch.pk}/live/?state=queued",
    )
    elsewhere = make_person("mia", make_project())
    for path in paths:
        assert Client().get(path).status_code == 302  # to the sign-in page
        page(as_person(make_person("ann", project)), path, 403)
        page(as_person(make_person("rex", project)), path, 403)
        page(as_person(make_person("out")), path, 404)
        page(as_person(elsewhere), path, 404)
    for action in ("cancel", "retry"):
        path = f"/train/batches/{batch.pk}/{action}/"
        assert as_person(elsewhere).post(path).status_code == 404
        assert as_person(make_person("rex", project)).post(path).status_code == 403
    batch.refresh_from_db()
    assert batch.state == State.QUEUED


def test_the_page_says_how_many_labels_are_missing() -> None:
    project = make_trainable(questions=40, min_labels_first=100)
    html = page(as_person(make_person("mia", project)), f"/train/{project.slug}/")
    assert "<strong>60</strong> more labels until a first training" in html
    assert "(40 of 100)" in html
    assert "Train with too few labels" in html


def test_an_empty_project_has_a_page() -> None:
    project = make_project()
    html = page(as_person(make_person("mia", project)), f"/train/{project.slug}/")
    assert "Nothing was trained yet." in html
    assert "<strong>100</strong> more labels" in html


def test_a_click_queues_a_batch_and_leads_to_its_page(
    project: Project, mia: Client, base: str
) -> None:
    answer = mia.post(
        f"/train/{project.slug}/",
        filled("lora", base=base, epochs="3", seed="7"),
    )
    batch = TrainingBatch.objects.get()
    assert answer.status_code == 302
    assert answer["Location"] == f"/train/batches/{batch.pk}/"
    assert (batch.preset, batch.base) == ("lora", base)
    assert (batch.recipe["epochs"], batch.recipe["seed"]) == (3, 7)
    assert batch.created_by is not None
    assert batch.created_by.username == "mia"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"base": "path:/nowhere"}, "there is no folder"),
        ({"preset": "incremental"}, "no active version"),
        ({"preset": "best"}, "best"),
    ],
)
def test_what_cannot_work_is_said_on_the_form(
    project: Project, mia: Client, base: str, values: dict[str, str], says: str
) -> None:
    asked = {"preset": "first", "base": base, **values}
    answer = mia.post(f"/train/{project.slug}/", asked)
    assert answer.status_code == 200
    assert says in answer.content.decode()
    assert not TrainingBatch.objects.exists()


def test_incremental_is_offered_with_an_active_version(
    project: Project, mia: Client, base: str
) -> None:
    path = f"/train/{project.slug}/"
    assert "Needs an active version" in page(mia, path)
    make_version(project, active=True, provenance={"base": base})
    html = page(mia, path)
    assert "Go on from version 1" in html
    assert "Needs an active version" not in html
    mia.post(path, {"preset": "incremental", "base": ""})
    assert TrainingBatch.objects.get().parent is not None


def test_the_batch_page_follows_the_batch(
    project: Project, mia: Client, base: str
) -> None:
    batch = make_batch(project, base)
    path = f"/train/batches/{batch.pk}/"
    html = page(mia, path)
    assert "No worker is running" in html
    assert f'hx-get="{path}live/?state=queued"' in html

    fence = ownership.claim(batch.pk)
    assert fence is not None
    ownership.beat(
        batch.pk, fence, phase="train", step=1234, total_steps=2468, eta_s=125.0
    )
    for step, loss, f1 in ((1, 2.0, None), (600, 1.0, 0.5), (1234, 0.5, 0.75)):
        ownership.add_step(batch.pk, step=step, epoch=1, loss=loss, macro_f1=f1)
    ownership.note(batch.pk, "a line of the log")
    # The part that polls asks for the whole page when the state is another one.
    stale = mia.get(f"{path}live/?state=queued")
    assert stale["HX-Refresh"] == "true"
    html = page(mia, f"{path}live/?state=running")
    for words in ("step 1,234 of 2,468", "2 min left", "a line of the log", "0.75"):
        assert words in html
    assert html.count("<svg") == 2
    assert "<html" not in html


@pytest.mark.parametrize(
    ("phase", "done", "share"),
    [
        ("prepare", 0, 0),
        ("train", 1, 50),
        ("validate", 1, 50),
        ("save", 2, 100),
        ("export", 2, 100),
        ("evaluate", 3, 100),
        ("register", 4, 100),
    ],
)
def test_each_phase_has_its_place_in_the_progress(
    project: Project, mia: Client, base: str, phase: str, done: int, share: int
) -> None:
    batch = make_batch(project, base)
    fence = ownership.claim(batch.pk)
    assert fence is not None
    step = {"step": 5, "total_steps": 10} if done else {}
    ownership.beat(batch.pk, fence, phase=phase, **step)
    html = page(mia, f"/train/batches/{batch.pk}/live/?state=running")
    assert html.count("tl-stage-done") == done
    assert html.count("tl-stage-now") == 1
    assert f'aria-valuenow="{share}"' in html


def test_a_batch_behind_another_one_says_which(
    project: Project, mia: Client, base: str
) -> None:
    first, second = make_batch(project, base), make_batch(project, base)
    assert ownership.claim(first.pk)
    html = page(mia, f"/train/batches/{second.pk}/")
    assert f"Batch #{first.pk} comes first: Running" in html
    assert "Waiting for a worker" not in html
    assert "No worker" not in html
    assert "comes first" not in page(mia, f"/train/batches/{first.pk}/")


def test_a_cancelled_batch_says_what_that_means(
    project: Project, mia: Client, base: str
) -> None:
    batch = make_batch(project, base)
    batches.cancel(batch, None)
    html = page(mia, f"/train/batches/{batch.pk}/")
    assert "no version came of it" in html
    assert f"/train/{project.slug}/?like={batch.pk}" in html


def test_a_failed_batch_says_why_and_can_be_run_again(
    project: Project, mia: Client, base: str
) -> None:
    batch = make_batch(project, base)
    assert ownership.claim(batch.pk)
    assert ownership.fail(batch.pk, 1, error="The disk is <full>.")
    path = f"/train/batches/{batch.pk}/"
    html = page(mia, path)
    assert "The disk is &lt;full&gt;." in html
    assert f"{path}live/" not in html
    assert mia.get(f"{path}retry/").status_code == 405
    answer = mia.post(f"{path}retry/", follow=True)
    assert "on the queue again" in answer.content.decode()
    batch.refresh_from_db()
    assert (batch.state, batch.attempts) == (State.QUEUED, 2)


def test_a_batch_says_what_it_used_and_gives_its_whole_log(
    project: Project, mia: Client, base: str
) -> None:
    batch = make_batch(project, base)
    assert ownership.claim(batch.pk)
    for n in range(50):
        ownership.note(batch.pk, f"line {n} <of> the log")
    used = {"device": "cpu", "wall_s": 180.0, "cpu_s": 340.0, "peak_memory_mb": 1834.0}
    TrainingBatch.objects.filter(pk=batch.pk).update(resources=used)
    path = f"/train/batches/{batch.pk}/"
    html = page(mia, path)
    for words in ("1.8 GB", "6 min", "All 50 lines", "line 49 &lt;of&gt;"):
        assert words in html, words
    assert "line 9 &lt;of&gt;" not in html
    assert "GPU memory" not in html
    log = mia.get(f"{path}log/")
    assert log["Content-Type"] == "text/plain; charset=utf-8"
    assert log["X-Content-Type-Options"] == "nosniff"
    assert log.content.decode().count("<of>") == 50
    page(as_person(make_person("rex", project)), f"{path}log/", 403)
    # What a dying process wrote stands below the reason; both lead on.
    assert ownership.fail(batch.pk, 1, error="It was killed.\nlast words")
    html = page(mia, path)
    assert '<pre class="tl-pre">last words</pre>' in html
    assert f"/train/{project.slug}/?like={batch.pk}" in html


def test_a_batch_is_cancelled_by_its_button(
    project: Project, mia: Client, base: str
) -> None:
    batch = make_batch(project, base)
    path = f"/train/batches/{batch.pk}/cancel/"
    mia.post(path)
    batch.refresh_from_db()
    assert batch.state == State.CANCELLED
    again = mia.post(path, follow=True).content.decode()
    assert "finished already" in again


def test_a_succeeded_batch_shows_its_verdict_and_the_way_on(
    project: Project, mia: Client, base: str
) -> None:
    batch = _succeeded(project, base)
    assert batch.version is not None
    html = page(mia, f"/train/batches/{batch.pk}/")
    for words in (
        "Measured on 44 test questions.",
        "Macro-F1 falls against the active version",
        "Against version 1",
        "took 3 min",
        f"/admin/registry/version/{batch.version.pk}/activate/",
    ):
        assert words in html, words


def test_the_pages_read_well_in_chinese(
    project: Project, mia: Client, base: str
) -> None:
    batch = _succeeded(project, base)
    mia.cookies["django_language"] = "zh-hans"
    for path in (f"/train/{project.slug}/", f"/train/batches/{batch.pk}/"):
        html = page(mia, path)
        assert 'lang="zh-hans"' in html


def test_the_list_shows_own_projects_in_few_queries(
    project: Project, mia: Client, base: str, django_assert_max_num_queries: Any
) -> None:
    for _i in range(12):
        make_batch(project, base)
    foreign = make_batch(make_trainable(name="Somebody else's"), base)
    path = "/admin/training/trainingbatch/"
    with django_assert_max_num_queries(14):
        html = page(mia, path)
    assert "Somebody else" not in html
    assert f"/train/{project.slug}/" in html
    answer = mia.get(f"{path}{batch_id(project)}/change/")
    assert answer["Location"] == f"/train/batches/{batch_id(project)}/"
    page(mia, f"/train/batches/{foreign.pk}/", 404)


def batch_id(project: Project) -> int:
    return project.batches.latest("id").pk


def _succeeded(project: Project, base: str) -> TrainingBatch:
    """A batch whose version lost against the active one, as rows."""
    make_version(project, active=True)
    reasons = [
        {
            "code": "enough_test_questions",
            "passed": True,
            "values": {"n": 44, "needed": 20},
        },
        {
            "code": "no_loss",
            "passed": False,
            "values": {
                "difference": -0.05,
                "low": -0.08,
                "high": -0.01,
                "fixed": 2,
                "broken": 9,
            },
        },
    ]
    version = make_version(project, gate="refused")
    version.gate_reasons = reasons
    version.save(update_fields=["gate_reasons"])
    batch = make_batch(project, base)
    now = timezone.now()
    per_intent = {"stock": {"n": 9, "before": 1.0, "after": 0.5, "p": 0.06}}
    TrainingBatch.objects.filter(pk=batch.pk).update(
        state=TrainingBatch.State.SUCCEEDED,
        version=version,
        started_at=now - timedelta(minutes=3),
        finished_at=now,
        metrics={
            "active": {"version": 1, "n": 44, "accuracy": 0.9, "macro_f1": 0.9},
            "comparison": {
                "n": 44,
                "fixed": 2,
                "broken": 9,
                "p": 0.06,
                "accuracy": -0.15,
                "macro_f1": -0.05,
                "macro_f1_interval": [-0.08, -0.01],
                "per_intent": per_intent,
            },
            "fit": {"seconds": 100.0, "steps": 160, "accuracy": 0.9, "macro_f1": 0.9},
            "seconds": {"prepare": 3.0, "fit": 100.0, "export": 9.0, "evaluate": 2.0},
        },
    )
    batch.refresh_from_db()
    return batch
