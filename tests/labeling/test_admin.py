"""Admin pages of labeling: who sees what, and what a list costs."""

from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from labeling import access
from labeling.models import (
    Annotation,
    ApiKey,
    Dataset,
    DatasetItem,
    Intent,
    IntentAlias,
    KeywordRule,
    Lease,
    Membership,
    Paraphrasing,
    Project,
    Question,
    Slot,
    SyntheticQuestion,
    Template,
    Transfer,
)
from tests.labeling.pages import list_url, page_url, signed_in, superuser
from tests.makers import (
    make_intent,
    make_key,
    make_labelled,
    make_person,
    make_project,
    make_question,
    make_rule,
)

pytestmark = pytest.mark.django_db

LABELING = [m for m in admin.site._registry if m._meta.app_label == "labeling"]


@pytest.fixture
def project() -> Project:
    return make_project(name="Ours")


@pytest.fixture
def other() -> Project:
    return make_project(name="Theirs")


def fill(project: Project) -> dict[type, Any]:
    """One row of every model, all of this project."""
    mia = make_person("mia", project)
    intent = make_intent(project)
    question = make_labelled(project, intent)
    dataset = Dataset.objects.create(
        project=project,
        digest="d" * 64,
        label_set=[intent.code],
        train_count=1,
        validation_count=0,
    )
    now = timezone.now()
    train = make_labelled(project, intent, split="train")
    template = Template.objects.create(intent=intent, text="order {dish}")
    return {
        Project: project,
        Membership: Membership.objects.get(project=project, user=mia),
        ApiKey: make_key(project)[0],
        Intent: intent,
        IntentAlias: IntentAlias.objects.create(
            project=project, code=f"old {intent}", intent=intent
        ),
        Question: question,
        question.gold_labels.model: question.gold_labels.get(),
        Annotation: Annotation.objects.create(
            question=question, annotator=mia, verdict="label"
        ),
        Lease: Lease.objects.create(
            question=question,
            holder=mia,
            token=question.pk,
            claimed_at=now,
            expires_at=now,
        ),
        KeywordRule: make_rule(project, "打卡", intent),
        Dataset: dataset,
        DatasetItem: DatasetItem.objects.create(
            dataset=dataset, question=train, text="x", codes=["a"], split="train"
        ),
        Transfer: Transfer.objects.create(
            project=project,
            kind="export",
            format="jsonl",
            file_name="all.jsonl",
            by=mia,
        ),
        Slot: Slot.objects.create(project=project, name="dish", values="rice"),
        Template: template,
        SyntheticQuestion: SyntheticQuestion.objects.create(
            project=project,
            intent=intent,
            text="order rice",
            text_hash="h" * 64,
            origin="template",
            template=template,
        ),
        Paraphrasing: Paraphrasing.objects.create(
            project=project,
            server="http://localhost:1/v1",
            model="small",
            per_question=2,
            questions=[train.pk],
            by=mia,
        ),
    }


class TestEveryPage:
    def test_there_is_one_for_every_model(self, project: Project) -> None:
        assert set(fill(project)) == set(LABELING)

    @pytest.mark.parametrize("language", ["en", "zh-hans"])
    @pytest.mark.parametrize("model", LABELING, ids=lambda m: m.__name__)
    def test_list_and_page_open_with_and_without_rows(
        self, model: Any, language: str, project: Project
    ) -> None:
        client = superuser()
        client.cookies["django_language"] = language
        assert client.get(list_url(model)).status_code == 200
        row = fill(project)[model]
        narrowed = {"project": project.pk} if model is not Project else {}
        assert client.get(list_url(model), narrowed).status_code == 200
        assert client.get(page_url(row)).status_code == 200

    @pytest.mark.parametrize("model", LABELING, ids=lambda m: m.__name__)
    def test_nobody_sees_another_project(
        self, model: Any, project: Project, other: Project
    ) -> None:
        theirs = fill(other)[model]
        client = signed_in("mia", project)
        Membership.objects.filter(project=other, user__username="mia").delete()
        page = client.get(list_url(model))
        assert page.status_code == 200
        assert theirs not in page.context["cl"].result_list
        assert client.get(page_url(theirs)).status_code in (302, 403, 404)

    @pytest.mark.parametrize("model", LABELING, ids=lambda m: m.__name__)
    def test_the_role_in_the_project_counts_not_the_best_role_elsewhere(
        self, model: Any, project: Project, other: Project
    ) -> None:
        """Manager in one project, annotator in the other: the groups say both."""
        theirs = fill(other)[model]
        mia = make_person("mia", project)
        access.add_member(other, mia, role="annotator")
        client = Client()
        client.force_login(mia)
        if model in (Project, Intent, Question):
            assert client.get(page_url(theirs)).status_code == 200
            page = client.post(page_url(theirs), {"name": "mine now", "code": "x"})
            assert page.status_code == 403
        else:
            page = client.get(list_url(model))
            if page.status_code == 200:
                assert theirs not in page.context["cl"].result_list
        if model is not Dataset:  # other pages have nothing to delete there
            deleted = client.post(page_url(theirs, "delete"), {"post": "yes"})
            assert deleted.status_code in (302, 403)
            assert model.objects.filter(pk=theirs.pk).exists()

    @pytest.mark.parametrize("model", LABELING, ids=lambda m: m.__name__)
    def test_who_is_in_no_project_sees_nothing(
        self, model: Any, project: Project
    ) -> None:
        fill(project)
        out = make_person("out")
        out.is_staff = True
        out.save()
        client = Client()
        client.force_login(out)
        assert client.get(list_url(model)).status_code == 403

    @pytest.mark.parametrize("model", [Annotation, Dataset, DatasetItem, Question])
    def test_what_the_product_writes_is_read_only(
        self, model: Any, project: Project
    ) -> None:
        row = fill(project)[model]
        client = superuser()
        assert client.post(page_url(row), {}).status_code == 403
        assert client.post(page_url(row, "delete"), {"post": "yes"}).status_code == 403


class TestQuestions:
    def test_filters_and_search(self, project: Project) -> None:
        intent = make_intent(project, "greet")
        wanted = make_labelled(project, intent, "怎么打卡", confidence=0.2)
        make_question(project, "other", confidence=0.9)
        client = signed_in("ann", project)

        def found(**params: Any) -> list[Question]:
            page = client.get(list_url(Question), params)
            assert page.status_code == 200
            return list(page.context["cl"].result_list)

        assert len(found()) == 2
        assert found(q="打卡") == [wanted]
        assert found(state__exact="labelled") == [wanted]
        assert found(intent=intent.pk) == [wanted]
        assert found(confidence="low") == [wanted]
        assert found(learned="no") == [wanted]
        assert found(learned="yes") == []
        assert len(found(intent="nonsense", project="x")) == 2

    def test_low_is_each_projects_own(self, project: Project, other: Project) -> None:
        other.low_confidence = 0.3
        other.save()
        low = make_question(project, confidence=0.5)
        make_question(other, confidence=0.5)
        client = signed_in("ann", project, other)
        page = client.get(list_url(Question), {"confidence": "low"})
        assert list(page.context["cl"].result_list) == [low]

    def test_the_count_stops_at_the_cap(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from labeling.admin.scoped import CappedPaginator

        monkeypatch.setattr(CappedPaginator, "cap", 3)
        for _ in range(5):
            make_question(project)
        page = signed_in("ann", project).get(list_url(Question))
        assert page.context["cl"].result_count == 3
        assert "First 3 shown" in page.content.decode()

    def test_cost_does_not_grow_with_rows(
        self, project: Project, django_assert_max_num_queries: Any
    ) -> None:
        intent = make_intent(project)
        for _ in range(30):
            make_labelled(project, intent)
        client = signed_in("ann", project)
        with django_assert_max_num_queries(14) as captured:
            client.get(list_url(Question))
        counts = [q["sql"] for q in captured if "COUNT(" in q["sql"]]
        assert all("LIMIT" in sql for sql in counts)
        assert not any("OFFSET" in q["sql"] for q in captured.captured_queries)

    def test_a_long_text_is_cut_and_escaped(self, project: Project) -> None:
        make_question(project, "<script>alert(1)</script>" + "x" * 500)
        body = signed_in("ann", project).get(list_url(Question)).content.decode()
        assert "<script>alert(1)" not in body
        assert "&lt;script&gt;alert(1)" in body


def test_the_cost_of_the_transfers_does_not_grow_with_rows(
    project: Project, other: Project, django_assert_num_queries: Any
) -> None:
    def add(name: str, where: Project, state: str) -> None:
        Transfer.objects.create(
            project=where,
            kind="export",
            format="jsonl",
            state=state,
            stored_as="exports/all.jsonl",
            file_name="all.jsonl",
            by=make_person(name, where),
        )

    client = signed_in("mia", project, other)
    add("mia", project, "succeeded")
    with CaptureQueriesContext(connection) as one_row:
        client.get(list_url(Transfer))
    for number in range(5):
        for where in (project, other):
            for state in Transfer.State.values:
                add(f"mia{number}", where, state)
    with django_assert_num_queries(len(one_row)):
        page = client.get(list_url(Transfer))
    assert len(page.context["cl"].result_list) == 50


def test_leases_can_be_freed(project: Project) -> None:
    lease = fill(project)[Lease]
    signed_in("mia", project).post(page_url(lease, "delete"), {"post": "yes"})
    assert not Lease.objects.exists()


def test_an_answered_slot_cannot_be_freed(project: Project) -> None:
    lease = fill(project)[Lease]
    Lease.objects.filter(pk=lease.pk).update(expires_at=None)
    signed_in("mia", project).post(page_url(lease, "delete"), {"post": "yes"})
    assert Lease.objects.filter(pk=lease.pk).exists()
