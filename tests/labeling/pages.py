"""Signed-in clients and addresses of labeling's admin pages, for tests."""

from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from labeling.models import Project
from tests.makers import make_person


def signed_in(name: str, *projects: Project) -> Client:
    person = make_person(name)
    for project in projects:
        make_person(name, project)
    client = Client()
    client.force_login(person)
    return client


def superuser() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="root"))
    return client


def list_url(model: Any) -> str:
    return reverse(f"admin:labeling_{model._meta.model_name}_changelist")


def page_url(row: Any, name: str = "change") -> str:
    return reverse(f"admin:labeling_{row._meta.model_name}_{name}", args=[row.pk])
