"""The pages that rename, merge, split and retire intents: form, preview, confirm."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from labeling.models import GoldLabel, Intent, IntentAlias, Project
from tests.labeling.pages import list_url, page_url, signed_in
from tests.makers import (
    make_intent,
    make_labelled,
    make_project,
    make_question,
    make_rule,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def pay(project: Project) -> Intent:
    return make_intent(project, "pay")


@pytest.fixture
def bill(project: Project) -> Intent:
    return make_intent(project, "bill")


@pytest.fixture
def mia(project: Project) -> Client:
    return signed_in("mia", project)


def do(intent: Intent, name: str) -> str:
    return f"{page_url(intent).removesuffix('change/')}{name}/"


def together(name: str, *intents: Intent) -> str:
    ids = ",".join(str(intent.pk) for intent in intents)
    return f"{reverse(f'admin:labeling_intent_{name}')}?chosen={ids}"


def text_of(response: Any) -> str:
    return str(response.content.decode())


def splits(*parts: dict[str, str], **others: str) -> dict[str, str]:
    posted = {"part-TOTAL_FORMS": str(len(parts)), "part-INITIAL_FORMS": "0", **others}
    for n, part in enumerate(parts):
        posted |= {f"part-{n}-{name}": value for name, value in part.items()}
    return posted


class TestList:
    def test_it_counts_labels_old_codes_and_open_questions(
        self, project: Project, pay: Intent, mia: Client
    ) -> None:
        IntentAlias.objects.create(project=project, code="payment", intent=pay)
        make_labelled(project, pay)
        for code, split in (("pay", "train"), ("payment", "train"), ("pay", "test")):
            predicted = [{"code": code, "confidence": 0.5}]
            make_question(project, predicted=predicted, split=split)
        (row,) = mia.get(list_url(Intent)).context["cl"].result_list
        assert (row.labelled, row.n_open) == (1, 2)
        assert "payment" in text_of(mia.get(list_url(Intent)))
        assert mia.get(list_url(Intent), {"q": "payment"}).context["cl"].result_list

    def test_it_costs_the_same_for_many(self, project: Project, mia: Client) -> None:
        counts = []
        for _n in range(2):
            for _m in range(5):
                make_labelled(project, make_intent(project))
            with CaptureQueriesContext(connection) as captured:
                mia.get(list_url(Intent))
            counts.append(len(captured))
        assert counts[0] == counts[1]

    def test_actions_lead_to_their_pages(
        self, pay: Intent, bill: Intent, mia: Client
    ) -> None:
        for name in ("merge", "retire"):
            answer = mia.post(
                list_url(Intent),
                {"action": name, "_selected_action": [pay.pk, bill.pk]},
            )
            assert answer.status_code == 302
            assert mia.get(answer["Location"]).status_code == 200
        assert Intent.objects.filter(retired_at=None).count() == 2


class TestForm:
    def test_guidelines_and_name_can_be_written(self, pay: Intent, mia: Client) -> None:
        mia.post(page_url(pay), {"name": "Pay", "guidelines": "**When** it is due"})
        pay.refresh_from_db()
        assert (pay.name, pay.guidelines) == ("Pay", "**When** it is due")

    def test_the_code_has_a_page_of_its_own(self, pay: Intent, mia: Client) -> None:
        mia.post(page_url(pay), {"code": "other", "name": "Pay"})
        pay.refresh_from_db()
        assert pay.code == "pay"
        assert do(pay, "rename") in text_of(mia.get(page_url(pay)))

    def test_a_new_intent_cannot_take_an_old_code(
        self, project: Project, pay: Intent, mia: Client
    ) -> None:
        IntentAlias.objects.create(project=project, code="once", intent=pay)
        page = mia.post(
            reverse("admin:labeling_intent_add"),
            {"project": project.pk, "code": "once"},
        )
        assert "old code of another intent" in text_of(page)


class TestRename:
    def test_form_preview_confirm(
        self, project: Project, pay: Intent, mia: Client
    ) -> None:
        make_labelled(project, pay)
        url = do(pay, "rename")
        assert mia.get(url).status_code == 200
        shown = mia.post(url, {"code": "payment"})
        assert shown.context["moved"].labels == 1
        pay.refresh_from_db()
        assert pay.code == "pay"
        assert "Rename" in text_of(mia.post(url, {"code": "payment", "back": "1"}))
        done = mia.post(url, {"code": "payment", "confirm": "1"}, follow=True)
        assert "pay is now payment" in text_of(done)
        pay.refresh_from_db()
        assert pay.code == "payment"

    def test_what_is_wrong_is_a_sentence(
        self, pay: Intent, bill: Intent, mia: Client
    ) -> None:
        page = mia.post(do(pay, "rename"), {"code": "bill"})
        assert "“bill” names another intent." in text_of(page)


class TestMerge:
    def test_form_preview_confirm(
        self, project: Project, pay: Intent, bill: Intent, mia: Client
    ) -> None:
        make_labelled(project, bill)
        make_rule(project, "invoice", bill)
        url = together("merge", bill)
        assert mia.get(do(bill, "merge"))["Location"] == url
        assert "bill" not in [
            intent.code
            for intent in mia.get(url).context["form"].fields["target"].queryset
        ]
        shown = mia.post(url, {"target": pay.pk, "comment": "One thing"})
        assert shown.context["shown"].moved.labels == 1
        assert Intent.objects.count() == 2
        assert 'value="One thing"' in text_of(shown)
        done = mia.post(
            url, {"target": pay.pk, "comment": "One thing", "confirm": "1"}, follow=True
        )
        assert "Merged into pay." in text_of(done)
        assert Intent.objects.get() == pay
        history = mia.get(page_url(pay, "history"))
        assert "Merged bill into pay: 1 labels, 1 rules" in text_of(history)

    def test_of_several_chosen_one_stays(
        self, project: Project, pay: Intent, bill: Intent, mia: Client
    ) -> None:
        make_labelled(project, pay)
        url = together("merge", bill, pay)
        assert mia.get(url).context["form"].initial["target"] == pay
        mia.post(url, {"target": pay.pk, "confirm": "1"})
        assert Intent.objects.get() == pay

    def test_what_is_wrong_is_a_sentence(
        self, project: Project, pay: Intent, bill: Intent, mia: Client
    ) -> None:
        none = make_intent(project, "none", is_fallback=True)
        page = mia.post(together("merge", none, bill), {"target": bill.pk})
        assert "is the project&#x27;s fallback" in text_of(page)
        other = make_intent(make_project())
        both = signed_in("mia", project, other.project)
        page = both.get(together("merge", pay, other), follow=True)
        assert "Only intents of one project" in text_of(page)

    def test_who_comes_second_is_told(
        self, project: Project, pay: Intent, bill: Intent, mia: Client
    ) -> None:
        gone = together("merge", bill)
        mia.post(gone, {"target": pay.pk, "confirm": "1"})
        assert mia.get(gone).status_code == 404


class TestSplit:
    CARD = {"code": "card", "name": "By card", "keywords": "visa，信用卡\ncredit card"}
    CASH = {"code": "cash", "examples": "Do you take cash?"}

    def test_form_preview_confirm(
        self, project: Project, pay: Intent, mia: Client
    ) -> None:
        make_labelled(project, pay, "By visa", split="train")
        make_labelled(project, pay, "Do you take cash?", split="train")
        make_labelled(project, pay, "Hm", split="train")
        url = do(pay, "split")
        assert "Do you take cash?" in text_of(mia.get(url))
        posted = splits(self.CARD, self.CASH, heir="1", comment="Too wide")
        shown = mia.post(url, posted)
        counts = [share.count for _part, share in shown.context["shown"].parts]
        assert counts == [1, 1]
        assert shown.context["shown"].ambiguous.count == 1
        again = mia.post(url, {**posted, "back": "1"})
        assert "visa，信用卡" in text_of(again)
        done = mia.post(url, {**posted, "confirm": "1"}, follow=True)
        assert "pay is split." in text_of(done)
        labels = GoldLabel.objects.values_list("question__text", "intent__code")
        assert set(labels) == {("By visa", "card"), ("Do you take cash?", "cash")}
        assert IntentAlias.objects.get().intent.code == "cash"

    def test_parts_can_be_added(self, pay: Intent, mia: Client) -> None:
        posted = splits(self.CARD, {"code": ""}, heir="0", more="1")
        page = mia.post(do(pay, "split"), posted)
        assert page.context["parts"].total_form_count() == 3
        assert "This field is required" not in text_of(page)
        assert 'value="card"' in text_of(page)

    def test_what_is_wrong_is_a_sentence(
        self, project: Project, pay: Intent, mia: Client
    ) -> None:
        make_labelled(project, pay, "Do you take cash?")
        url = do(pay, "split")
        page = mia.post(url, splits(self.CARD, {"code": "cash"}, heir="0"))
        assert "Say how to tell the questions of “cash”" in text_of(page)
        page = mia.post(url, splits(self.CARD, self.CASH))
        assert "Choose the part that the old code" in text_of(page)
        unknown = {**self.CASH, "examples": "Never asked"}
        page = mia.post(url, splits(self.CARD, unknown, heir="0"))
        assert "There is no question “Never asked”" in text_of(page)
        assert Intent.objects.count() == 1

    def test_nonsense_is_no_error_of_ours(self, pay: Intent, mia: Client) -> None:
        url = do(pay, "split")
        for posted in (
            {"x": "1"},
            {"part-TOTAL_FORMS": "x", "more": "1"},
            {**splits(self.CARD, self.CASH), "heir": "99"},
            {**splits(self.CARD, self.CASH), "heir": "-1"},
            {**splits(*[self.CARD] * 20), "heir": "0", "confirm": "1"},
        ):
            assert mia.post(url, posted).status_code == 200
        assert Intent.objects.count() == 1


class TestRetire:
    def test_preview_confirm_and_back(
        self, project: Project, pay: Intent, mia: Client
    ) -> None:
        make_labelled(project, pay)
        url = together("retire", pay)
        assert mia.get(do(pay, "retire"))["Location"] == url
        ((_intent, moved),) = mia.get(url).context["rows"]
        assert moved.labels == 1
        mia.post(url, {"confirm": "1"})
        pay.refresh_from_db()
        assert pay.retired_at is not None
        assert not mia.get(list_url(Intent)).context["cl"].result_list
        assert mia.get(do(pay, "restore")).status_code == 200
        mia.post(do(pay, "restore"))
        pay.refresh_from_db()
        assert pay.retired_at is None

    def test_the_fallback_stays(self, project: Project, mia: Client) -> None:
        none = make_intent(project, "none", is_fallback=True)
        page = mia.post(together("retire", none), follow=True)
        assert "Make another intent the fallback first" in text_of(page)

    def test_restore_from_the_list(
        self, project: Project, pay: Intent, mia: Client
    ) -> None:
        mia.post(together("retire", pay))
        chosen = {"action": "restore", "_selected_action": [pay.pk]}
        mia.post(list_url(Intent) + "?use=all", chosen)
        pay.refresh_from_db()
        assert pay.retired_at is None


class TestAccess:
    @pytest.mark.parametrize("name", ["rename", "merge", "split", "retire", "restore"])
    def test_only_managers_of_the_project(
        self, project: Project, pay: Intent, name: str
    ) -> None:
        elsewhere = make_project()
        make_intent(elsewhere, "there")
        rex = signed_in("rex", project)
        assert rex.get(do(pay, name)).status_code == 403
        assert rex.post(do(pay, name), {"confirm": "1"}).status_code == 403
        assert do(pay, name) not in text_of(rex.get(page_url(pay)))
        other = signed_in("mia", elsewhere)
        assert other.get(do(pay, name)).status_code in (302, 404)
        assert Client().get(do(pay, name)).status_code == 302

    @pytest.mark.parametrize("name", ["merge", "retire"])
    def test_also_of_several(
        self, project: Project, pay: Intent, bill: Intent, name: str
    ) -> None:
        rex = signed_in("rex", project)
        assert rex.get(together(name, pay, bill)).status_code == 403
        elsewhere = signed_in("mia", make_project())
        url = together(name, pay, bill)
        posted = {"target": pay.pk, "confirm": "1"}
        assert elsewhere.post(url, posted).status_code == 404
        assert Intent.objects.filter(project=project, retired_at=None).count() == 2
        assert not LogEntry.objects.exists()
