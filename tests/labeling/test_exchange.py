"""The admin's import and export pages of questions."""

import os
import time
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from labeling import access, exchange
from labeling.models import Intent, Project, Question
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db

IMPORT = "admin:labeling_question_import"
CONFIRM = "admin:labeling_question_process_import"
EXPORT = "admin:labeling_question_export"
LIST = "admin:labeling_question_changelist"


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def mia(project: Project, client: Client) -> Client:
    """The project's manager, signed in."""
    client.force_login(make_person("mia", project))
    return client


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path


def send(client: Client, project: Project, data: bytes, **choices: Any) -> Any:
    """Uploads a file to the first page."""
    values = {
        "resource": "0",
        "project": project.pk,
        "format": "0",
        "encoding": "utf-8",
        "split": "",
        "import_file": SimpleUploadedFile("q.jsonl", data),
        **choices,
    }
    return client.post(reverse(IMPORT), values)


def waiting() -> list[str]:
    try:
        return default_storage.listdir("imports")[1]
    except FileNotFoundError:
        return []


def gold(project: Project) -> dict[str, list[str] | None]:
    return dict(Question.objects.of(project).order_by("id").rows())


def test_the_list_links_to_import_and_export_for_managers_only(
    mia: Client, project: Project, client: Client
) -> None:
    page = mia.get(reverse(LIST)).content.decode()
    assert reverse(IMPORT) in page
    assert reverse(EXPORT) in page
    client.force_login(make_person("ann", project))
    page = client.get(reverse(LIST)).content.decode()
    assert reverse(IMPORT) not in page
    assert reverse(EXPORT) not in page


@pytest.mark.parametrize("name", ["ann", "rex"])
def test_others_may_not_open_the_pages(
    project: Project, client: Client, name: str
) -> None:
    client.force_login(make_person(name, project))
    assert client.get(reverse(IMPORT)).status_code == 403
    assert send(client, project, b'{"text": "q"}').status_code == 403
    assert client.post(reverse(CONFIRM), {"upload": "x"}).status_code in (302, 403)
    assert client.get(reverse(EXPORT)).status_code == 403
    assert not Question.objects.exists()


def test_a_preview_writes_nothing_and_its_confirmation_imports(
    mia: Client, project: Project
) -> None:
    make_labelled(project, make_intent(project, "old"), "taken")
    data = "\n".join(
        [
            '{"text": "怎么打卡", "label": "clock_in"}',
            '{"text": "tell me a joke", "label": "oos"}',
            "not json",
            '{"text": "taken", "label": "clock_in"}',
            '{"text": "no label"}',
        ]
    ).encode()
    assert mia.get(reverse(IMPORT)).status_code == 200
    answer = send(mia, project, data, create_intents="on", split="train")
    page = answer.content.decode()
    report = answer.context["report"]
    assert (report.rows, report.created, report.labelled) == (4, 3, 2)
    assert (report.conflicts, report.bad) == (1, 1)
    assert "not JSON" in page
    assert "clock_in" in page
    assert Question.objects.count() == 1
    assert Intent.objects.count() == 1
    assert len(waiting()) == 1

    done = mia.post(reverse(CONFIRM), {"upload": answer.context["token"]}, follow=True)
    assert done.redirect_chain[-1][0] == reverse(LIST) + f"?project={project.pk}"
    assert "4 rows: 3 new questions" in done.content.decode()
    assert gold(project) == {
        "taken": ["old"],
        "怎么打卡": ["clock_in"],
        "tell me a joke": ["oos"],
        "no label": None,
    }
    assert Question.objects.get(text="怎么打卡").split == "train"
    label = Question.objects.get(text="怎么打卡").gold_labels.get()
    assert label.set_by is not None
    assert (label.source, label.set_by.username) == ("import", "mia")
    assert waiting() == []
    assert "q.jsonl" in LogEntry.objects.get().change_message

    again = mia.post(reverse(CONFIRM), {"upload": answer.context["token"]}, follow=True)
    assert "no longer there" in again.content.decode()
    assert Question.objects.count() == 4


def test_csv_in_gb18030(mia: Client, project: Project) -> None:
    make_intent(project, "a")
    data = "user_input,intent_code\n打卡,a\n".encode("gb18030")
    refused = send(mia, project, data, format="1")
    assert "--encoding gb18030" in refused.content.decode()
    assert refused.context["token"] == ""
    answer = send(mia, project, data, format="1", encoding="gb18030")
    mia.post(reverse(CONFIRM), {"upload": answer.context["token"]})
    assert gold(project) == {"打卡": ["a"]}


@pytest.mark.parametrize(
    ("data", "choices", "expected"),
    [
        (b"a,b\n1,2\n", {"format": "1"}, "name the columns"),
        (bytes(range(256)) * 50, {}, "Nothing in the file can be imported"),
        (b"x" * 1_000_000, {}, "too long"),
        ("{}".encode("utf-16"), {}, "UTF-16"),
        (b"{}", {"format": ""}, "required"),
        (b"{}", {"format": "7"}, "valid choice"),
        (b"{}", {"encoding": "latin-1"}, "valid choice"),
        (b"{}", {"split": "nowhere"}, "valid choice"),
        (b"", {}, "empty"),
    ],
)
def test_files_and_choices_that_cannot_be_taken(
    mia: Client, project: Project, data: bytes, choices: dict[str, str], expected: str
) -> None:
    answer = send(mia, project, data, **choices)
    assert answer.status_code == 200
    assert expected in answer.content.decode()
    assert not answer.context.get("token")
    assert waiting() == []


def test_a_file_over_the_limit_is_refused(
    mia: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_UPLOAD_MB", 1)
    line = b'{"text": "q"}\n'
    answer = send(mia, project, line * (1024 * 1024 // len(line) + 1))
    assert "import_questions" in answer.content.decode()
    assert waiting() == []


def test_other_projects_are_out_of_reach(mia: Client, project: Project) -> None:
    other = make_project()
    answer = send(mia, other, b'{"text": "q"}')
    assert "valid choice" in answer.content.decode()
    assert not answer.context.get("token")


def test_only_an_own_fresh_untouched_upload_can_be_confirmed(
    mia: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = send(mia, project, b'{"text": "q"}').context["token"]
    for wrong in ("", "nonsense", token[:-1] + ("a" if token[-1] != "a" else "b")):
        answer = mia.post(reverse(CONFIRM), {"upload": wrong}, follow=True)
        assert "no longer there" in answer.content.decode()
    assert mia.get(reverse(CONFIRM)).status_code == 405

    second = Client()
    person = make_person("second")
    access.add_member(project, person, role="manager")
    second.force_login(person)
    answer = second.post(reverse(CONFIRM), {"upload": token}, follow=True)
    assert "no longer there" in answer.content.decode()

    later = time.time() + 3601
    with monkeypatch.context() as patch:
        patch.setattr("django.core.signing.time.time", lambda: later)
        assert not Question.objects.exists()
        mia.post(reverse(CONFIRM), {"upload": token})
    assert not Question.objects.exists()
    mia.post(reverse(CONFIRM), {"upload": token})
    assert Question.objects.count() == 1


def test_who_is_no_manager_any_more_cannot_confirm(
    mia: Client, project: Project
) -> None:
    token = send(mia, project, b'{"text": "q"}').context["token"]
    project.memberships.update(role="annotator")
    assert mia.post(reverse(CONFIRM), {"upload": token}).status_code == 404
    assert not Question.objects.exists()


def test_uploads_that_nobody_confirmed_go_away(mia: Client, project: Project) -> None:
    send(mia, project, b'{"text": "forgotten"}')
    (old,) = waiting()
    past = time.time() - 3 * 3600
    os.utime(default_storage.path(f"imports/{old}"), (past, past))
    send(mia, project, b'{"text": "fresh"}')
    assert len(waiting()) == 1
    assert old not in waiting()


@pytest.mark.parametrize(
    ("chosen", "kind", "expected"),
    [
        ("0", "jsonl", '{"text": "=打卡", "label": "a"}\n{"text": "open"}\n'),
        ("1", "csv", '\ufefftext,label\n"\'=打卡","a"\n"open",""\n'),
    ],
)
def test_export_of_what_the_list_shows(
    mia: Client, project: Project, chosen: str, kind: str, expected: str
) -> None:
    make_labelled(project, make_intent(project, "a"), "=打卡", split="train")
    make_question(project, "open", split="train")
    make_question(project, "test one", split="test")
    make_question(make_project(), "somebody else's", split="train")
    seen_not_managed = make_project()
    access.add_member(
        seen_not_managed, get_user_model().objects.get(), role="annotator"
    )
    make_question(seen_not_managed, "not mine to take away", split="train")
    assert mia.get(reverse(EXPORT)).status_code == 200
    answer = mia.post(
        reverse(EXPORT) + "?split__exact=train", {"resource": "0", "format": chosen}
    )
    assert answer.status_code == 200
    assert f".{kind}" in answer["Content-Disposition"]
    assert b"".join(answer.streaming_content).decode() == expected
