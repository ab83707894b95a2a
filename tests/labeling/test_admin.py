"""Admin pages of labeling: who sees what, what an action does, what a list costs."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
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
    Project,
    Question,
)
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

    def test_a_search_reads_the_newest_of_what_is_filtered(
        self, project: Project, other: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from labeling.admin import scoped

        monkeypatch.setattr(scoped, "SEARCHED", 2)
        texts = ("word one", "word two", "word three")
        ours = [make_question(project, text) for text in texts]
        make_question(other, "word elsewhere")
        client = signed_in("ann", project, other)
        params = {"q": "word", "project": project.pk}
        page = client.get(list_url(Question), params)
        assert list(page.context["cl"].result_list) == [ours[2], ours[1]]

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


class TestRules:
    def test_approve_and_disable_from_the_list(self, project: Project) -> None:
        rule = make_rule(project, "打卡", make_intent(project), state="candidate")
        client = signed_in("mia", project)

        def act(name: str) -> str:
            page = client.post(
                list_url(KeywordRule),
                {"action": name, "_selected_action": [rule.pk]},
                follow=True,
            )
            return page.content.decode()

        assert "1 rule approved; it is live." in act("approve")
        rule.refresh_from_db()
        project.refresh_from_db()
        assert (rule.state, project.serving_revision) == ("active", 1)
        assert rule.decided_by is not None
        assert "1 rule disabled" in act("disable")
        rule.refresh_from_db()
        assert rule.state == "disabled"

    def test_a_reviewer_looks_but_does_not_approve(self, project: Project) -> None:
        rule = make_rule(project, "打卡", make_intent(project), state="candidate")
        client = signed_in("rex", project)
        assert client.get(list_url(KeywordRule)).status_code == 200
        client.post(
            list_url(KeywordRule),
            {"action": "approve", "_selected_action": [rule.pk]},
        )
        rule.refresh_from_db()
        assert rule.state == "candidate"

    def test_a_manager_elsewhere_cannot_approve_here(
        self, project: Project, other: Project
    ) -> None:
        rule = make_rule(other, "打卡", make_intent(other), state="candidate")
        mia = make_person("mia", project)
        access.add_member(other, mia, role="reviewer")
        client = Client()
        client.force_login(mia)
        client.post(
            list_url(KeywordRule),
            {"action": "approve", "_selected_action": [rule.pk]},
        )
        rule.refresh_from_db()
        assert rule.state == "candidate"

    def test_the_page_shows_what_it_hits(self, project: Project) -> None:
        intent = make_intent(project)
        make_labelled(project, intent, "手机打卡失败", split="train")
        wrong = make_intent(project, "elsewhere")
        make_labelled(project, wrong, "打卡后发货", split="train")
        rule = make_rule(project, "打卡", intent)
        page = signed_in("mia", project).get(page_url(rule))
        assert page.context["preview"].n_right == 1
        body = page.content.decode()
        assert "手机打卡失败" in body
        assert "elsewhere" in body

    def test_written_by_hand_it_is_normalised_and_live(self, project: Project) -> None:
        intent = make_intent(project)
        signed_in("mia", project).post(
            reverse("admin:labeling_keywordrule_add"),
            {
                "project": project.pk,
                "intent": intent.pk,
                "pattern": " ＷｉＦｉ ",
                "boost": "0.8",
            },
        )
        rule = KeywordRule.objects.get()
        assert (rule.pattern, rule.state) == ("wifi", "active")

    def test_rule_and_intent_belong_together(
        self, project: Project, other: Project
    ) -> None:
        page = signed_in("mia", project, other).post(
            reverse("admin:labeling_keywordrule_add"),
            {
                "project": project.pk,
                "intent": make_intent(other).pk,
                "pattern": "x",
                "boost": "0.8",
            },
        )
        assert "another project" in page.content.decode()
        assert not KeywordRule.objects.exists()

    def test_save_and_approve(self, project: Project) -> None:
        intent = make_intent(project)
        rule = make_rule(project, "打卡", intent, state="candidate")
        values = {"intent": intent.pk, "pattern": "打卡", "boost": "0.7"}
        client = signed_in("mia", project)
        body = client.get(page_url(rule)).content.decode()
        assert "Save and approve" in body
        assert "Save and disable" not in body
        client.post(
            page_url(rule), {**values, "labeling_keywordrule_approve_this": "1"}
        )
        rule.refresh_from_db()
        assert (rule.state, rule.boost) == ("active", 0.7)

    def test_deleting_is_live(self, project: Project) -> None:
        rule = make_rule(project, "打卡", make_intent(project))
        # No role may delete rules: they disable them. A superuser may.
        superuser().post(page_url(rule, "delete"), {"post": "yes"})
        project.refresh_from_db()
        assert not KeywordRule.objects.exists()
        assert project.serving_revision == 1


class TestIntents:
    def test_a_new_code_leaves_an_alias(self, project: Project) -> None:
        intent = make_intent(project, "old")
        signed_in("mia", project).post(
            page_url(intent), {"code": "new", "name": "New", "description": ""}
        )
        intent.refresh_from_db()
        assert (intent.code, intent.name) == ("new", "New")
        assert IntentAlias.objects.get().code == "old"

    def test_an_old_code_of_another_intent_is_refused(self, project: Project) -> None:
        taken, intent = make_intent(project, "taken"), make_intent(project, "mine")
        IntentAlias.objects.create(project=project, code="once", intent=taken)
        page = signed_in("mia", project).post(
            page_url(intent), {"code": "once", "name": "", "description": ""}
        )
        assert "old code of another intent" in page.content.decode()

    def test_retire_and_restore(self, project: Project) -> None:
        intent = make_intent(project)
        client = signed_in("mia", project)
        chosen = {"_selected_action": [intent.pk]}
        client.post(list_url(Intent), {"action": "retire", **chosen})
        intent.refresh_from_db()
        assert intent.retired_at is not None
        assert intent not in client.get(list_url(Intent)).context["cl"].result_list
        retired = client.get(list_url(Intent), {"use": "retired"})
        assert intent in retired.context["cl"].result_list
        client.post(list_url(Intent) + "?use=all", {"action": "restore", **chosen})
        intent.refresh_from_db()
        assert intent.retired_at is None

    def test_only_own_projects_are_offered(
        self, project: Project, other: Project
    ) -> None:
        page = signed_in("mia", project).get(reverse("admin:labeling_intent_add"))
        offered = page.context["adminform"].form.fields["project"].queryset
        assert list(offered) == [project]


class TestKeys:
    def issue(self, client: Client, project: Project, name: str = "shop") -> Any:
        return client.post(
            reverse("admin:labeling_apikey_add"),
            {"project": project.pk, "name": name, "scope": "classify"},
        )

    def test_the_secret_is_shown_once(self, project: Project) -> None:
        client = signed_in("mia", project)
        page = self.issue(client, project)
        key = ApiKey.objects.get()
        secret = page.context["secret"]
        assert access.hash_key(secret) == key.hash
        assert secret in page.content.decode()
        assert "no-store" in page["Cache-Control"]
        for url in (list_url(ApiKey), page_url(key), page_url(key, "history")):
            body = client.get(url).content.decode()
            assert secret not in body
            assert key.hash not in body

    def test_a_valid_name_is_taken(self, project: Project) -> None:
        client = signed_in("mia", project)
        self.issue(client, project)
        page = self.issue(client, project)
        assert "has this name already" in page.content.decode()
        assert ApiKey.objects.count() == 1

    def test_only_for_projects_that_one_manages(
        self, project: Project, other: Project
    ) -> None:
        mia = make_person("mia", project)
        access.add_member(other, mia, role="reviewer")
        client = Client()
        client.force_login(mia)
        self.issue(client, other)
        assert not ApiKey.objects.exists()
        ann = signed_in("ann", project)
        assert self.issue(ann, project).status_code == 403

    def test_revoke(self, project: Project) -> None:
        key, _secret = make_key(project)
        signed_in("mia", project).post(
            list_url(ApiKey), {"action": "revoke", "_selected_action": [key.pk]}
        )
        key.refresh_from_db()
        assert key.revoked_at is not None


class TestMembers:
    def test_adding_one_opens_the_admin(self, project: Project) -> None:
        new = User.objects.create_user("new", password="new")
        signed_in("mia", project).post(
            reverse("admin:labeling_membership_add"),
            {"project": project.pk, "user": new.pk, "role": "annotator"},
        )
        new.refresh_from_db()
        assert new.is_staff
        assert access.role_in(new, project) == "annotator"
        assert new.groups.filter(name="Annotator").exists()

    def test_a_role_changes(self, project: Project) -> None:
        ann = make_person("ann", project)
        member = Membership.objects.get(user=ann)
        signed_in("mia", project).post(page_url(member), {"role": "reviewer"})
        assert access.role_in(ann, project) == "reviewer"

    def test_key_accounts_are_not_offered(self, project: Project) -> None:
        make_key(project)
        page = signed_in("mia", project).get(reverse("admin:labeling_membership_add"))
        people = page.context["adminform"].form.fields["user"].queryset
        assert {person.username for person in people} == {"mia"}

    def test_managers_manage_no_accounts(self, project: Project) -> None:
        client = signed_in("mia", project)
        assert client.get(reverse("admin:auth_user_changelist")).status_code == 403
        assert client.get(reverse("admin:auth_group_changelist")).status_code == 403


class TestProjects:
    def test_a_manager_sets_thresholds_and_serving_hears_of_it(
        self, project: Project
    ) -> None:
        client = signed_in("mia", project)
        form = client.get(page_url(project)).context["adminform"].form
        values = {k: v for k, v in form.initial.items() if k in form.fields}
        inline = {
            "memberships-TOTAL_FORMS": 0,
            "memberships-INITIAL_FORMS": 0,
        }
        client.post(page_url(project), {**values, **inline, "low_confidence": "0.55"})
        project.refresh_from_db()
        assert project.low_confidence == 0.55
        assert project.serving_revision == 1

    def test_slug_and_kind_stay(self, project: Project) -> None:
        form = signed_in("mia", project).get(page_url(project)).context["adminform"]
        assert not {"slug", "is_multi_intent"} & set(form.form.fields)

    def test_superusers_add_them(self) -> None:
        client = superuser()
        form = client.get(reverse("admin:labeling_project_add")).context["adminform"]
        values = {k: f.initial for k, f in form.form.fields.items() if f.initial}
        values |= {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
        added = client.post(
            reverse("admin:labeling_project_add"),
            {**values, "name": "New", "slug": "new"},
        )
        assert added.status_code == 302
        assert Project.objects.filter(slug="new").exists()


def test_leases_can_be_freed(project: Project) -> None:
    lease = fill(project)[Lease]
    signed_in("mia", project).post(page_url(lease, "delete"), {"post": "yes"})
    assert not Lease.objects.exists()
