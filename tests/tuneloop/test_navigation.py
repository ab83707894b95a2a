"""The sidebar: a person sees what they may open, and each link opens."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.makers import make_person, make_project

pytestmark = pytest.mark.django_db


def entries(client: Client) -> dict[str, str]:
    """What the sidebar shows: {title: link}."""
    page = client.get(reverse("admin:index"))
    return {
        str(item["title"]): str(item["link"])
        for group in page.context["sidebar_navigation"]
        for item in group["items"]
        if item["has_permission"]
    }


def signed_in(name: str) -> Client:
    client = Client()
    client.force_login(make_person(name, make_project()))
    return client


def superuser() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="root"))
    return client


def test_an_annotator_sees_little() -> None:
    assert set(entries(signed_in("ann"))) == {
        *("Dashboard", "Label", "Label in bulk", "Questions", "Projects", "Intents"),
    }


def test_a_manager_sees_the_loop_but_no_accounts_and_no_job_queues() -> None:
    shown = set(entries(signed_in("mia")))
    assert {"Rules", "Training", "Versions", "API keys", "Serving"} <= shown
    assert not {"Accounts", "Job queues"} & shown


@pytest.mark.parametrize("who", ["ann", "rex", "mia", "root"])
def test_every_link_that_is_shown_opens(who: str) -> None:
    client = superuser() if who == "root" else signed_in(who)
    shown = entries(client)
    assert len(shown) >= 5
    for title, link in shown.items():
        assert client.get(link, follow=True).status_code == 200, title


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_links_that_are_hidden_are_closed(language: str) -> None:
    closed = set(entries(superuser()).values()) - set(
        entries(signed_in("ann")).values()
    )
    ann = Client()
    ann.force_login(User.objects.get(username="ann"))
    for link in closed:
        assert ann.get(link).status_code == 403, link


def test_job_queues_are_closed_to_staff() -> None:
    """django-rq itself lets all staff empty queues."""
    client = signed_in("mia")
    home = reverse("admin:django_rq_dashboard_changelist")
    for path in ("", "queues/0/", "queues/0/empty/", "stats.json"):
        assert client.get(home + path).status_code == 403, path
    assert superuser().get(home).status_code == 200


def test_training_pages_light_their_entry(settings: Any) -> None:
    client = signed_in("mia")
    page = client.get(reverse("admin:training_trainingbatch_changelist"))
    lit = [
        str(item["title"])
        for group in page.context["sidebar_navigation"]
        for item in group["items"]
        if item["active"]
    ]
    assert lit == ["Training"]
