"""What managers see and set of the language model."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labeling.models import Project
from registry.models import ClassificationLog, LlmDay
from tests.makers import make_person, make_project
from tuneloop import llm_use, traffic

pytestmark = pytest.mark.django_db


def log(project: Project, days_ago: int, **methods: int) -> None:
    at = timezone.now() - timedelta(days=days_ago)
    ClassificationLog.objects.bulk_create(
        ClassificationLog(
            **{"project": project, "text": "t", "intents": [], "method": method},
            **{"confidence": 0.5, "needs_review": True, "latency_ms": 1},
            created_at=at,
        )
        for method, n in methods.items()
        for _one in range(n)
    )


def spend(project: Project, days_ago: int, **values: Any) -> None:
    # The budget's days are those of UTC.
    day = (timezone.now() - timedelta(days=days_ago)).date()
    LlmDay.objects.create(project=project, day=day, **values)


@pytest.fixture
def client(settings: Any) -> Client:
    settings.LLM_URL, settings.LLM_MODEL = "https://user:pw@llm.example/v1", "large"
    return Client()


@pytest.fixture
def project() -> Project:
    return make_project(llm_fallback=True, llm_budget=10)


def card(client: Client, project: Project, name: str = "mia") -> str:
    client.force_login(make_person(name, project))
    page = client.get(reverse("admin:index"), {"project": project.slug})
    whole = " ".join(page.content.decode().split())
    _before, found, rest = whole.partition("Language model <")
    return rest.partition("</section>")[0] if found else ""


class TestDashboard:
    def test_rate_and_cost_against_the_aim(
        self, client: Client, project: Project, settings: Any
    ) -> None:
        settings.LLM_PRICE_IN = 1.0
        log(project, 28, model=94, llm=6)
        log(project, 0, model=98, llm=1, fallback=1)
        spend(project, 28, calls=7, answered=6, failed=1, tokens_in=9000, cost=0.4)
        spend(project, 0, calls=4, answered=1, tokens_in=800, tokens_out=10, cost=0.1)
        shown = card(client, project)
        assert '<div class="tl-figure">1.0 %</div>' in shown
        assert '<div class="tl-figure">3.5 %</div>' in shown
        assert '<div class="tl-figure">0.50</div>' in shown
        assert "below the aim of 2 %" in shown
        assert "It was 6.0 % in the first week." in shown
        assert "<dd>4 of 10</dd>" in shown
        assert "<dd>11, 1 without an answer</dd>" in shown
        assert "<dd>9,810</dd>" in shown
        assert "<dt>Cost of 1,000 answers</dt> <dd>2.500</dd>" in shown

    @pytest.mark.parametrize(
        ("llm", "standing", "said"),
        [
            (1, "good", "below the aim of 2 %"),
            (2, "warn", "the aim is below 2 %"),
            (5, "warn", "the aim is below 2 %"),
            (6, "bad", "above 5 %, the aim is below 2 %"),
        ],
    )
    def test_how_far_the_aim_is(
        self, client: Client, project: Project, llm: int, standing: str, said: str
    ) -> None:
        log(project, 3, model=100 - llm, llm=llm)
        assert f'<span class="tl-badge tl-{standing}">{said}<' in card(client, project)

    def test_bars_and_lines_share_a_scale(self, project: Project) -> None:
        log(project, 1, model=88, llm=12)
        log(project, 0, model=97, llm=3)
        days = traffic.of(project, counted=llm_use.DAYS).counted
        use = llm_use.Use(project, days, [])
        assert len(use.bars) == llm_use.DAYS
        assert [bar.height for bar in use.bars[-2:]] == [100.0, 25.0]
        assert use.aim_lines == [(0.05, 58.33), (0.02, 83.33)]
        quiet = llm_use.Use(project, days[:10], [])
        assert quiet.aim_lines[0][1] == pytest.approx(100 / 6, abs=0.01)

    def test_what_is_wrong_is_said(
        self, client: Client, project: Project, settings: Any
    ) -> None:
        spend(project, 0, calls=10)
        assert "today's budget is spent" in card(client, project)
        settings.LLM_URL = ""
        assert "no server is set up" in card(client, project)
        Project.objects.filter(pk=project.pk).update(llm_fallback=False)
        assert "off</span>" in card(client, project)

    def test_nothing_where_it_has_no_part(self, client: Client) -> None:
        project = make_project()
        spend(project, llm_use.DAYS + 1, calls=3)
        assert card(client, project) == ""

    def test_managers_alone(self, client: Client, project: Project) -> None:
        assert card(client, project, "rex") == ""
        assert card(client, project, "mia") != ""

    def test_the_chart_of_traffic_stays_as_it_is(self, project: Project) -> None:
        log(project, 20, model=50)
        log(project, 1, model=2)
        wide = traffic.of(project, counted=llm_use.DAYS)
        assert (wide.most, len(wide.days)) == (2, traffic.DAYS)
        assert wide.days == traffic.of(project).days


class TestProjectForm:
    def send(self, client: Client, project: Project, **values: Any) -> Any:
        client.force_login(make_person("mia", project))
        url = reverse("admin:labeling_project_change", args=[project.pk])
        page = client.get(url)
        form = page.context["adminform"].form
        data = {
            name: value
            for name in form.fields
            if (value := form[name].value()) not in (None, False)
        }
        management = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
        prefix = page.context["inline_admin_formsets"][0].formset.prefix
        management = {f"{prefix}-{n}_FORMS": 0 for n in ("TOTAL", "INITIAL")}
        return client.post(url, {**data, **management, **values})

    def test_a_manager_turns_it_on(self, client: Client) -> None:
        project = make_project()
        before = project.serving_revision
        self.send(client, project, llm_fallback="on", llm_budget=77)
        project.refresh_from_db()
        assert (project.llm_fallback, project.llm_budget) == (True, 77)
        assert project.serving_revision > before

    def test_who_is_sent_what_is_said_before(
        self, client: Client, project: Project
    ) -> None:
        client.force_login(make_person("mia", project))
        url = reverse("admin:labeling_project_change", args=[project.pk])
        page = client.get(url).content.decode()
        assert "are sent to large at llm.example, with the names" in page
        assert "user:pw" not in page

    def test_not_without_a_server(self, client: Client, settings: Any) -> None:
        settings.LLM_URL = ""
        project = make_project()
        answer = self.send(client, project, llm_fallback="on")
        assert "TUNELOOP_LLM_URL" in answer.content.decode()
        project.refresh_from_db()
        assert not project.llm_fallback

    def test_one_that_lost_its_server_can_still_be_changed(
        self, client: Client, project: Project, settings: Any
    ) -> None:
        settings.LLM_URL = ""
        answer = self.send(client, project, name="Other")
        assert answer.status_code == 302
        project.refresh_from_db()
        assert (project.name, project.llm_fallback) == ("Other", True)
