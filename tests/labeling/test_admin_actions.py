"""Admin pages of labeling: what each form and action does, and who may."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from labeling import access
from labeling.models import (
    ApiKey,
    KeywordRule,
    Membership,
    Project,
    Question,
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


@pytest.fixture
def project() -> Project:
    return make_project(name="Ours")


@pytest.fixture
def other() -> Project:
    return make_project(name="Theirs")


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


class TestMine:
    URL = "admin:labeling_keywordrule_mine"

    def test_a_manager_looks_for_rules(self, project: Project) -> None:
        intent = make_intent(project)
        make_intent(project)
        for text in ("怎么打卡", "忘记打卡了", "打卡失败"):
            make_labelled(project, intent, text, split="train")
        for text in ("x one", "y two", "z three", "a four", "b five", "c six"):
            make_labelled(project, make_intent(project), text, split="train")
        client = signed_in("mia", project)
        assert reverse(self.URL) in client.get(list_url(KeywordRule)).content.decode()
        posted = {"project": project.pk, "support": 3}
        page = client.post(reverse(self.URL), posted, follow=True)
        assert "1 candidate waits" in page.content.decode()
        assert [rule.pattern for rule in page.context["cl"].result_list] == ["打卡"]

    def test_only_where_one_is_a_manager(
        self, project: Project, other: Project
    ) -> None:
        assert signed_in("rex", project).get(reverse(self.URL)).status_code == 403
        page = signed_in("mia", project).post(
            reverse(self.URL), {"project": other.pk, "support": 3}
        )
        assert page.context["form"].errors


class TestIntents:
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

    def test_a_limit_is_set_and_changed(self, project: Project) -> None:
        client = signed_in("mia", project)
        client.post(
            reverse("admin:labeling_apikey_add"),
            {
                **{"project": project.pk, "name": "shop", "scope": "classify"},
                "rate_limit": "600",
            },
        )
        key = ApiKey.objects.get()
        assert key.rate_limit == 600
        for given, kept in (("0", 0), ("", None), ("-1", None)):
            client.post(page_url(key), {"rate_limit": given, "revoked_at": ""})
            key.refresh_from_db()
            assert key.rate_limit == kept
        access.revoke_key(key)
        client.post(page_url(key), {"rate_limit": "5"})
        key.refresh_from_db()
        assert key.rate_limit == 5
        assert key.revoked_at is not None

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


class TestRelabel:
    def url(self, question: Question) -> str:
        return reverse("admin:labeling_question_relabel", args=[question.pk])

    def test_a_reviewer_settles_a_dispute(self, project: Project) -> None:
        intent = make_intent(project)
        question = make_question(project, state="disputed")
        client = signed_in("rex", project)
        assert self.url(question) in client.get(page_url(question)).content.decode()
        client.post(self.url(question), {"intents": intent.pk})
        question.refresh_from_db()
        label = question.gold_labels.get()
        assert (question.state, label.intent, label.source) == (
            *("labelled", intent, "adjudication"),
        )
        assert label.set_by is not None
        assert label.set_by.username == "rex"

    def test_several_intents_or_none_where_a_project_has_several(self) -> None:
        project = make_project(is_multi_intent=True)
        both = [make_intent(project), make_intent(project)]
        question = make_question(project)
        client = signed_in("rex", project)
        client.post(self.url(question), {"intents": [i.pk for i in both]})
        assert set(question.gold.all()) == set(both)
        client.post(self.url(question), {})
        assert not question.gold.exists()

    def test_one_intent_is_needed_where_a_question_has_one(
        self, project: Project, other: Project
    ) -> None:
        question = make_question(project)
        client = signed_in("rex", project)
        for chosen in ("", make_intent(other).pk):
            page = client.post(self.url(question), {"intents": chosen})
            assert page.context["form"].errors
        assert not question.gold_labels.exists()

    def test_annotators_may_not(self, project: Project) -> None:
        question = make_question(project)
        client = signed_in("ann", project)
        assert self.url(question) not in client.get(page_url(question)).content.decode()
        posted = client.post(self.url(question), {"intents": make_intent(project).pk})
        assert posted.status_code == 403
