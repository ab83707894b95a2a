"""The admin's pages of imports and exports: form, preview, progress, download."""

import os
import time
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labeling import access, transfers
from labeling.exchange import uploads
from labeling.models import Intent, Project, Question, Transfer
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
PAGE = "admin:labeling_transfer_change"


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
        "project": project.pk,
        "format": "",
        "encoding": "utf-8",
        "split": "",
        "import_file": SimpleUploadedFile("q.jsonl", data),
        **choices,
    }
    return client.post(reverse(IMPORT), values)


def confirm(client: Client, token: str) -> Transfer:
    """Confirms an upload and does the worker's part."""
    answer = client.post(reverse(CONFIRM), {"upload": token})
    transfer = Transfer.objects.latest("pk")
    assert answer["Location"] == reverse(PAGE, args=[transfer.pk])
    transfers.run(transfer.pk)
    transfer.refresh_from_db()
    return transfer


def waiting() -> list[str]:
    try:
        return default_storage.listdir("transfers")[1]
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

    transfer = confirm(mia, answer.context["token"])
    assert transfer.state == "succeeded"
    page = mia.get(reverse(PAGE, args=[transfer.pk])).content.decode()
    assert "not JSON" in page
    assert "names other intents" in page
    assert f"{reverse(LIST)}?project={project.pk}" in page
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

    again = mia.post(reverse(CONFIRM), {"upload": answer.context["token"]}, follow=True)
    assert "no longer there" in again.content.decode()
    assert Question.objects.count() == 4


def test_csv_in_gb18030(mia: Client, project: Project) -> None:
    make_intent(project, "a")
    data = "user_input,intent_code\n打卡,a\n".encode("gb18030")
    file = {"import_file": SimpleUploadedFile("q.csv", data)}
    refused = send(mia, project, data, **file)
    assert "--encoding gb18030" in refused.content.decode()
    assert refused.context["token"] == ""
    file = {"import_file": SimpleUploadedFile("q.csv", data)}
    answer = send(mia, project, data, **file, encoding="gb18030")
    confirm(mia, answer.context["token"])
    assert gold(project) == {"打卡": ["a"]}


@pytest.mark.parametrize(
    ("data", "choices", "expected"),
    [
        (b"a,b\n1,2\n", {"format": "csv"}, "name the columns"),
        (b"PK", {"format": "xlsx"}, "no XLSX"),
        (b"\xd0\xcf\x11\xe0", {}, "save it as XLSX"),
        (b"[1", {}, "not JSON"),
        (bytes(range(256)) * 50, {}, "Nothing in the file can be imported"),
        (b"x" * 1_000_000, {}, "too long"),
        ("{}".encode("utf-16"), {}, "UTF-16"),
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
    mia: Client, project: Project, settings: Any
) -> None:
    settings.LABELING_MAX_UPLOAD_MB = 1
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
    first = confirm(mia, token)
    assert Question.objects.count() == 1
    mia.post(reverse(CONFIRM), {"upload": token})
    assert list(Transfer.objects.all()) == [first]


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
    os.utime(default_storage.path(f"transfers/{old}"), (past, past))
    send(mia, project, b'{"text": "fresh"}')
    transfers.sweep()
    assert len(waiting()) == 1
    assert old not in waiting()


def test_a_second_confirmation_is_the_same_import(
    mia: Client, project: Project
) -> None:
    token = send(mia, project, b'{"text": "q"}').context["token"]
    pages = {mia.post(reverse(CONFIRM), {"upload": token})["Location"] for _ in "ab"}
    assert len(pages) == Transfer.objects.count() == 1


def test_the_preview_of_a_large_file_says_that_it_is_partial(
    mia: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PREVIEW_ROWS", 3)
    data = b"".join(b'{"text": "q%d"}\n' % n for n in range(4))
    answer = send(mia, project, data)
    assert answer.context["report"].rows == 3
    assert "first lines only" in answer.content.decode()
    assert confirm(mia, answer.context["token"]).report["created"] == 4
    few = send(mia, project, data[: data.rindex(b"{")])
    assert "first lines only" not in few.content.decode()


@pytest.mark.parametrize(
    ("chosen", "kind", "expected"),
    [
        ("jsonl", "jsonl", '{"text": "=打卡", "label": "a"}\n{"text": "open"}\n'),
        ("csv", "csv", '\ufefftext,label\n"\'=打卡","a"\n"open",""\n'),
    ],
)
def test_export_of_what_the_list_shows(
    mia: Client, project: Project, chosen: str, kind: str, expected: str
) -> None:
    make_labelled(project, make_intent(project, "a"), "=打卡", split="train")
    make_question(project, "open", split="train")
    make_question(project, "test one", split="test")
    other = make_project()
    make_question(other, "somebody else's", split="train")
    form = mia.get(reverse(EXPORT) + "?split__exact=train&q=x").context["form"]
    assert (form["split"].value(), form["text"].value()) == ("train", "x")
    values = {"project": project.pk, "format": chosen, "split": "train"}
    answer = mia.post(reverse(EXPORT), values)
    transfer = Transfer.objects.get()
    page = reverse(PAGE, args=[transfer.pk])
    assert answer["Location"] == page
    assert "No worker is running" in mia.get(page).content.decode()
    download = reverse("admin:labeling_transfer_download", args=[transfer.pk])
    assert mia.get(download).status_code == 404
    transfers.run(transfer.pk)
    assert download in mia.get(page).content.decode()
    file = mia.get(download)
    assert f'.{kind}"' in file["Content-Disposition"]
    assert b"".join(file.streaming_content).decode() == expected
    refused = mia.post(reverse(EXPORT), {**values, "project": other.pk})
    assert refused.status_code == 200
    strange = make_intent(other, "b")
    refused = mia.post(reverse(EXPORT), {**values, "intent": strange.pk})
    assert refused.status_code == 200
    assert Transfer.objects.count() == 1


@pytest.mark.parametrize(("name", "status"), [("ann", 403), ("rex", 403), ("out", 404)])
def test_only_managers_see_and_take_transfers(
    project: Project, client: Client, name: str, status: int
) -> None:
    make_question(project, "secret")
    transfer = transfers.start_export(
        project, format="jsonl", by=make_person("mia", project)
    )
    transfers.run(transfer.pk)
    person = make_person(name, project)
    person.is_staff = True
    person.save()
    client.force_login(person)
    for page in ("change", "live", "download"):
        url = reverse(f"admin:labeling_transfer_{page}", args=[transfer.pk])
        assert client.get(url).status_code == status, page
    url = reverse("admin:labeling_transfer_cancel", args=[transfer.pk])
    assert client.post(url).status_code == status
    # A manager of another project sees nothing of it in the list either.
    mia = Client()
    elsewhere = make_project()
    mia.force_login(make_person("mia", elsewhere))
    project.memberships.all().delete()
    listed = mia.get(reverse("admin:labeling_transfer_changelist"))
    assert listed.status_code == 200
    assert project.slug not in listed.content.decode()
    assert "Nothing was imported or exported" in listed.content.decode()


def test_the_page_follows_the_run(mia: Client, project: Project) -> None:
    token = send(mia, project, b'{"text": "q"}').context["token"]
    mia.post(reverse(CONFIRM), {"upload": token})
    transfer = Transfer.objects.get()
    live = reverse("admin:labeling_transfer_live", args=[transfer.pk])
    Transfer.objects.update(
        state="running",
        done=500,
        total=1000,
        beat_at=timezone.now(),
        report={"rows": 4000, "elapsed_s": 2.0},
    )
    page = mia.get(live + "?state=running").content.decode()
    assert "4,000 rows" in page
    assert "2,000 rows/s" in page
    assert "2 s left" in page
    assert mia.get(live + "?state=queued")["HX-Refresh"] == "true"
    cancel = reverse("admin:labeling_transfer_cancel", args=[transfer.pk])
    assert mia.get(cancel).status_code == 405
    done = mia.post(cancel, follow=True)
    assert "Cancelled by mia" in done.content.decode()
    listed = mia.get(reverse("admin:labeling_transfer_changelist")).content.decode()
    assert "q.jsonl" in listed
    assert "Cancelled" in listed
