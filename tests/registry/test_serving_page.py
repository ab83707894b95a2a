"""The Serving page: what processes say of themselves, summed up, for who may see it."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labeling.models import Project
from registry.models import ServingProcess
from registry.serving.measures import Measures, snapshot
from tests.makers import make_person, make_project

pytestmark = pytest.mark.django_db

LIST = reverse("admin:registry_servingprocess_changelist")

STATS: dict[str, Any] = {
    **snapshot(),
    "texts_per_s": 123.4,
    "p50_ms": 8.06,
    "p99_ms": 41.96,
    "errors": 0,
    "shed": {},
    "degraded": 0,
    "methods": {"model": 60, "gold": 20},
    "cache_hits": 0.25,
    "batch_mean": 6.4,
    "statuses": {"200": 1200, "429": 3},
    "gauges": {"journal_entries": 0.0, "journal_oldest_seconds": 0.0},
    "stages": {"model": {"n": 1200, "p50_ms": 6.1, "p99_ms": 30.26}},
}


@pytest.fixture
def project() -> Project:
    return make_project(name="Ours")


def signed_in(name: str, project: Project) -> Client:
    client = Client()
    client.force_login(make_person(name, project))
    return client


def make_process(project: Project, **overrides: Any) -> ServingProcess:
    now = timezone.now()
    entry = {"version": "7", "revision": 19, "ready": [7], "failed": [], "error": ""}
    values: dict[str, Any] = {
        "id": uuid.uuid4(),
        "host": "web-1",
        "pid": 11,
        "started_at": now,
        "seen_at": now,
        "serving": {str(project.pk): entry},
        "rss_mb": 500.4,
        "stats": STATS,
    }
    return ServingProcess.objects.create(**{**values, **overrides})


def text_of(response: Any) -> str:
    """The page without markup, white space as single spaces."""
    assert response.status_code == 200
    return " ".join(re.sub("<[^>]+>", " ", response.content.decode()).split())


def test_what_a_snapshot_holds_is_what_the_page_reads() -> None:
    assert STATS.keys() == snapshot().keys()


def test_a_process_says_version_revision_throughput_and_latency(
    project: Project,
) -> None:
    make_process(project)
    page = text_of(signed_in("mia", project).get(LIST))
    assert "version 7" in page
    assert "revision 19" in page
    assert "123.4" in page
    assert "8.1 / 42.0 ms" in page
    assert "500 MB" in page


def test_living_processes_are_summed_up_and_gone_ones_are_not(
    project: Project,
) -> None:
    make_process(project)
    slow = {**STATS, "p99_ms": 99.0, "texts_per_s": 10.0}
    make_process(project, pid=12, stats=slow, host="web-2")
    gone = timezone.now() - timedelta(minutes=1)
    make_process(project, pid=13, seen_at=gone, stats={**STATS, "p99_ms": 900.0})
    page = text_of(signed_in("mia", project).get(LIST))
    assert "2 processes 2 machines" in page
    assert "133.4 texts a second" in page
    assert "99.0 ms 99 % within, slowest process" in page
    assert re.search(r"Gone 6\d seconds ago", page)
    assert "1,001 MB memory" in page


def test_trouble_and_a_journal_that_waits_are_said(project: Project) -> None:
    stats = {
        **STATS,
        "errors": 2,
        "shed": {"busy": 3, "rate_limited": 1},
        "degraded": 1,
        "gauges": {"journal_entries": 4200, "journal_oldest_seconds": 61.2},
    }
    make_process(project, stats=stats)
    page = text_of(signed_in("mia", project).get(LIST))
    assert "2 errors" in page
    assert "4 turned away" in page
    assert "1 by rules alone" in page
    assert "4,200 on disk for 61 s" in page


def test_a_process_that_has_measured_nothing_yet_shows_dashes(project: Project) -> None:
    process = make_process(project, stats={}, rss_mb=None)
    client = signed_in("mia", project)
    assert "1 process 1 machine" in text_of(client.get(LIST))
    page = text_of(client.get(own_page(process)))
    assert "Nobody asked in the last minute." in page


def test_its_own_page_says_where_the_time_goes(project: Project) -> None:
    process = make_process(project)
    page = text_of(signed_in("mia", project).get(own_page(process)))
    assert "model, one batch 1,200 6.1 ms 30.3 ms" in page
    assert "model 60 75 %" in page
    assert "found in the answer cache 25 %" in page
    assert "200 × 1,200, 429 × 3" in page


def test_no_process_is_said_too(project: Project) -> None:
    page = text_of(signed_in("mia", project).get(LIST))
    assert "No web process has been seen in the last minute." in page


def test_managers_see_it_others_do_not(project: Project) -> None:
    process = make_process(project)
    for name in ("ann", "rex", "out"):
        client = signed_in(name, project)
        for url in (LIST, own_page(process)):
            assert client.get(url).status_code in (302, 403)


def test_many_processes_cost_no_more_queries(
    project: Project, django_assert_max_num_queries: Any
) -> None:
    for pid in range(20):
        make_process(project, pid=pid)
    client = signed_in("mia", project)
    with django_assert_max_num_queries(10):
        page = text_of(client.get(LIST))
    assert "20 processes 1 machine" in page, page


def test_a_real_snapshot_is_shown(project: Project) -> None:
    """What a process measures reaches the page by the same names."""
    from registry.serving import measures

    mine, before = Measures(), measures.measures
    try:
        measures.measures = mine
        mine.took("request", 0.2)
        mine.count("requests", status="503")
        mine.count("shed", reason="busy")
        process = make_process(project, stats=measures.snapshot())
    finally:
        measures.measures = before
    page = text_of(signed_in("mia", project).get(LIST))
    assert "1 error" in page
    assert "1 turned away" in page
    page = text_of(signed_in("mia", project).get(own_page(process)))
    assert "whole call 1" in page
    assert "busy × 1" in page


def own_page(process: ServingProcess) -> str:
    return reverse("admin:registry_servingprocess_change", args=[process.pk])
