"""The list of who holds what: a manager gives questions back to the queue."""

import pytest
from django.test import Client
from django.urls import reverse

from labeling import queue
from labeling.models import Lease
from labeling.queue import StaleLease
from tests import makers
from tests.makers import make_intent, make_person

pytestmark = pytest.mark.django_db

LIST = reverse("admin:labeling_lease_changelist")


def held_by(name, project):
    person = make_person(name, project)
    makers.make_question(project, split="train")
    [held] = queue.claim(project, person)
    return person, held


def signed_in(name):
    client = Client()
    client.force_login(make_person(name))
    return client


def give_back(client, *leases, sure=True):
    form = {
        "action": "delete_selected",
        "_selected_action": [lease.pk for lease in leases],
    }
    return client.post(LIST, {**form, "post": "yes"} if sure else form)


@pytest.fixture
def project():
    project = makers.make_project()
    make_intent(project, "pay")
    make_person("mia", project)
    return project


def test_a_manager_sees_who_holds_what_and_gives_it_back(project):
    ann, held = held_by("ann", project)
    client = signed_in("mia")
    page = client.get(LIST).content.decode()
    assert held.question.text in page
    assert "ann" in page
    assert "Give back to the queue" in page
    lease = Lease.objects.get()
    asked = give_back(client, lease, sure=False)
    assert asked.status_code == 200
    assert Lease.objects.exists()
    give_back(client, lease)
    assert not Lease.objects.exists()
    with pytest.raises(StaleLease, match="given back"):
        queue.submit(held.question.pk, ann, token=held.token, intents=["pay"])


def test_only_in_the_projects_that_they_manage(project):
    """mia reviews in the other project: she may look, not take."""
    other = makers.make_project()
    _ann, _held = held_by("ann", other)
    membership = make_person("mia", other).memberships.get(project=other)
    membership.role = "reviewer"
    membership.save()
    give_back(signed_in("mia"), Lease.objects.get())
    assert Lease.objects.exists()


def test_a_reviewer_may_only_look(project):
    held_by("ann", project)
    make_person("rex", project)
    client = signed_in("rex")
    assert "Give back to the queue" not in client.get(LIST).content.decode()
    give_back(client, Lease.objects.get())
    assert Lease.objects.exists()
