"""The pages of evaluations: who sees them, what they say, where they lead."""

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from labeling.models import Project
from registry.models import Evaluation
from tests.makers import make_intent, make_labelled, make_person, make_project
from tests.registry.makers import make_version
from tests.training.evaluations import Row, make_evaluation, make_rows
from training import evaluation as measuring
from training.reports.side_by_side import PAGE

pytestmark = pytest.mark.django_db

FIVE = ["bill", "card", "loan", "rate", "stock"]
MANY = [f"intent_{n:03}" for n in range(150)]


def as_person(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def project() -> Project:
    project = make_project(name="Bank")
    for code in FIVE:
        make_intent(project, code)
    return project


@pytest.fixture
def mia(project: Project) -> Client:
    return as_person(make_person("mia", project))


@pytest.fixture
def evaluation(project: Project) -> Evaluation:
    rows = make_rows(FIVE, each=20, wrong=0.2)
    questions = [
        make_labelled(project, project.intents.get(code=row[1][0]), row[0])
        for row in rows
    ]
    return make_evaluation(make_version(project, FIVE), rows, questions=questions)


def page(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path)
    assert response.status_code == status, response
    return unescape(response.content.decode())


def base(evaluation: Evaluation) -> str:
    return f"/train/evaluations/{evaluation.pk}/"


def every_path(one: Evaluation, other: Evaluation) -> list[str]:
    return [
        base(one),
        f"{base(one)}questions/",
        f"{base(one)}against/",
        f"{base(one)}against/{other.pk}/",
        f"{base(one)}report.json",
        f"{base(one)}report.html",
        f"/train/versions/{one.version_id}/measure/",
        f"/train/versions/{one.version_id}/measure/live/",
    ]


class TestWhoSeesThem:
    def test_managers_of_the_project_alone(
        self, project: Project, evaluation: Evaluation
    ) -> None:
        other = make_evaluation(
            make_version(project, FIVE), make_rows(FIVE, each=1, wrong=0)
        )
        elsewhere = as_person(make_person("mia", make_project()))
        for path in every_path(evaluation, other):
            assert Client().get(path).status_code == 302, path
            for name in ("ann", "rex"):
                page(as_person(make_person(name, project)), path, 403)
            page(as_person(make_person("out")), path, 404)
            page(elsewhere, path, 404)
        make_person("mia", project)
        for path in every_path(evaluation, other):
            assert elsewhere.get(path).status_code in (200, 302), path

    def test_what_is_not_there_is_a_404(
        self, mia: Client, evaluation: Evaluation
    ) -> None:
        foreign = make_evaluation(
            make_version(make_project(), FIVE), make_rows(FIVE, each=1, wrong=0)
        )
        for path in (
            "/train/evaluations/999999/",
            "/train/evaluations/99999999999999999/",
            f"{base(evaluation)}against/999999/",
            f"{base(evaluation)}against/{foreign.pk}/",
            f"{base(evaluation)}against/?with={foreign.pk}",
            "/train/versions/999999/measure/",
            *every_path(foreign, foreign),
        ):
            page(mia, path, 404)


class TestPage:
    def test_figures_stand_beside_what_they_are_compared_with(
        self, project: Project, mia: Client
    ) -> None:
        rows = make_rows(FIVE, each=20, wrong=0.1)
        one = make_evaluation(
            make_version(project, FIVE),
            rows,
            accuracy=0.9,
            floor={"accuracy": 0.812, "macro_f1": 0.8, "out_of_scope": {"f1": 0.321}},
            rules={"accuracy": 0.123, "macro_f1": 0.1, "answered": 0.456},
            out_of_scope={
                "n": 9,
                "precision": 0.7,
                "recall": 0.6,
                "f1": 0.65,
                "auroc": 0.97,
            },
            compared={
                "version": 7,
                "n": 100,
                "fixed": 3,
                "broken": 1,
                "p": 0.6,
                "accuracy": 0.02,
                "macro_f1": 0.01,
                "per_intent": {
                    "bill": {"n": 20, "before": 0.5, "after": 0.8, "p": 0.1}
                },
                "out_of_scope": {"before": 0.55, "after": 0.65},
                "calibration": {"before": 0.05, "after": 0.01},
            },
        )
        html = page(mia, base(one))
        for words in (
            *("90.0 %", "81.2 %", "32.1 %", "12.3 %", "45.6 %", "97.0 %"),
            *("v7, active", "88.0 %", "+2.0", "55.0 %", "+30.0"),
        ):
            assert words in html, words

    def test_multi_intent_projects_have_figures_of_their_own(self) -> None:
        project = make_project(is_multi_intent=True)
        mia = as_person(make_person("mia", project))
        rows: list[Row] = [
            ("both", ["bill", "card"], ["bill", "card"], 0.9),
            ("half", ["bill", "card"], ["bill", "loan"], 0.7),
        ]
        html = page(mia, base(make_evaluation(make_version(project, FIVE), rows)))
        for words in ("Exact match", "Micro-F1", "Example F1", "50.0 %", "75.0 %"):
            assert words in html, words
        assert ">Accuracy<" not in html

    def test_an_old_evaluation_without_the_newer_keys_opens(
        self, project: Project, mia: Client
    ) -> None:
        one = Evaluation.objects.create(
            version=make_version(project, FIVE),
            kind="test",
            n=4,
            accuracy=0.5,
            macro_f1=0.5,
            metrics={
                "n": 4,
                "accuracy": 0.5,
                "macro_f1": 0.5,
                "per_intent": {
                    "bill": {"precision": 1.0, "recall": 0.5, "f1": 0.6, "n": 4}
                },
                "confusion": [{"intent": "bill", "answered": "gone", "n": 2}],
            },
        )
        html = page(mia, base(one))
        assert "before matrices were kept" in html
        assert "queue=pair" not in html  # one of the two intents is gone
        assert "bill" in page(mia, f"{base(one)}report.html")

    def test_without_questions_it_says_what_to_do(
        self, project: Project, mia: Client
    ) -> None:
        one = make_evaluation(make_version(project, FIVE), [])
        html = page(mia, base(one))
        assert "queue=audit" in html
        assert f"/train/versions/{one.version_id}/measure/" in html


class TestMatrix:
    def test_each_number_leads_to_so_many_questions(
        self, mia: Client, evaluation: Evaluation
    ) -> None:
        html = page(mia, base(evaluation))
        cells = re.findall(
            r'<a href="([^"]+\?right=\w+&answered=\w+)"[^>]*>(\d+)<', html
        )
        assert len(cells) > 8
        for link, n in cells:
            assert page(mia, link).count("tl-answer-codes") == int(n), link

    def test_of_many_intents_it_shows_the_most_confused(
        self, project: Project, mia: Client
    ) -> None:
        rows = make_rows(MANY, each=4, wrong=0)
        rows += [(f"x{n}", ["intent_140"], ["intent_149"], 0.9) for n in range(9)]
        rows += [(f"y{n}", ["intent_003"], ["intent_077"], 0.9) for n in range(5)]
        one = make_evaluation(make_version(project, FIVE), rows)
        head = columns(page(mia, base(one)))
        assert head[:4] == ["intent_140", "intent_149", "intent_003", "intent_077"]
        assert len(head) <= 13  # the last one is "others"

        part = mia.get(
            f"{base(one)}?around=intent_077",
            headers={"HX-Request": "true", "HX-Target": "matrix"},
        ).content.decode()
        assert columns(part) == ["intent_077", "intent_003", "others"]
        assert "<html" not in part
        chosen = f"{base(one)}?intent=intent_001&intent=intent_002&add=intent_003"
        assert columns(page(mia, chosen))[:3] == [
            "intent_001",
            "intent_002",
            "intent_003",
        ]
        nonsense = page(mia, f"{base(one)}?around=%00&intent=nope")
        assert columns(nonsense) == head

    def test_a_perfect_version_has_one_too(self, project: Project, mia: Client) -> None:
        one = make_evaluation(
            make_version(project, FIVE), make_rows(MANY, each=2, wrong=0)
        )
        assert len(columns(page(mia, base(one)))) == 13


def columns(html: str) -> list[str]:
    head = html[
        html.index("tl-matrix") : html.index("</thead>", html.index("tl-matrix"))
    ]
    return re.findall(r"<th scope=\"col\"[^>]*><span>([^<]+)<", head)


class TestQuestions:
    def test_they_are_narrowed_ordered_and_paged(
        self, project: Project, mia: Client
    ) -> None:
        rows: list[Row] = [
            (f"text {n:03}", ["card"], ["card" if n % 2 else "loan"], (n % 10) / 10)
            for n in range(240)
        ]
        one = make_evaluation(make_version(project, FIVE), rows)
        for query, expected in (
            ("", list(range(240))),
            ("?show=wrong", [n for n in range(240) if not n % 2]),
            ("?show=right&order=surest", by_confidence(range(1, 240, 2), -1)),
            (
                "?right=card&answered=loan&order=unsurest",
                by_confidence(range(0, 240, 2), 1),
            ),
            ("?right=loan", []),
            ("?show=nonsense&order=nonsense&after=nonsense", list(range(240))),
        ):
            assert walked(mia, f"{base(one)}questions/{query}") == expected, query

    def test_a_cell_of_a_multi_intent_project_is_missed_and_given_instead(self) -> None:
        project = make_project(is_multi_intent=True)
        mia = as_person(make_person("mia", project))
        rows: list[Row] = [
            ("text 000", ["bill", "card"], ["bill", "loan"], 0.9),
            ("text 001", ["bill", "card"], ["bill", "card", "loan"], 0.9),
            ("text 002", ["card", "loan"], ["loan"], 0.9),
        ]
        one = make_evaluation(make_version(project, FIVE), rows)
        at = f"{base(one)}questions/"
        assert walked(mia, f"{at}?right=card&answered=loan") == [0]
        assert walked(mia, f"{at}?right=card&answered=card") == [1]

    def test_a_question_leads_to_its_page(
        self, mia: Client, evaluation: Evaluation
    ) -> None:
        html = page(mia, f"{base(evaluation)}questions/")
        found = re.search(r'href="(/admin/labeling/question/\d+/change/)"', html)
        assert found is not None
        assert mia.get(found[1]).status_code == 200


def walked(client: Client, path: str) -> list[int]:
    """The numbers in the texts of all pages, following "More"."""
    numbers: list[int] = []
    start = path.partition("?")[0]
    while True:
        html = page(client, path)
        numbers += [int(n) for n in re.findall(r">text (\d+)<", html)]
        more = re.findall(r'href="(\?[^"]*after=[^"]+)"', html)
        if not more:
            return numbers
        path = start + more[-1]


def by_confidence(numbers: Any, sign: int) -> list[int]:
    return sorted(numbers, key=lambda n: (sign * (n % 10), n))


class TestSideBySide:
    def test_says_what_is_fixed_broken_and_forgotten(
        self, project: Project, mia: Client
    ) -> None:
        old, new = pair(project, fixed=60, broken=2)
        html = page(mia, f"{base(new)}against/{old.pk}/")
        assert "Better, and unlikely to be chance" in html
        assert "200 questions in common" in html
        assert "accuracy went from 70.0 % to 99.0 %: +29.0 points" in html
        assert "these intents' recall: +29.0 points" in html
        assert broken_and_fixed(html) == (2, PAGE)
        # The other fixed ones come part by part: rows 2 to 61 are.
        part = page(mia, f"{base(new)}against/{old.pk}/?more=fixed&after={PAGE + 1}")
        assert part.count("tl-answer-text") == PAGE
        assert f"after={2 * PAGE + 1}" in part
        rest = page(mia, f"{base(new)}against/{old.pk}/?more=fixed&after={61 - PAGE}")
        assert rest.count("tl-answer-text") == PAGE
        assert "hx-get" not in rest

    def test_a_small_difference_may_be_chance(
        self, project: Project, mia: Client
    ) -> None:
        old, new = pair(project, fixed=4, broken=3)
        html = page(mia, f"{base(new)}against/{old.pk}/")
        assert "The difference may be chance" in html

    def test_a_loss_is_told(self, project: Project, mia: Client) -> None:
        old, new = pair(project, fixed=1, broken=40)
        html = page(mia, f"{base(new)}against/{old.pk}/")
        assert "Worse, and unlikely to be chance" in html
        assert "cost what was known before" in html

    def test_the_version_that_serves_is_the_usual_other(
        self, project: Project, mia: Client
    ) -> None:
        serving = make_version(project, FIVE, active=True)
        rows = make_rows(FIVE, each=2, wrong=0)
        first, second = (make_evaluation(serving, rows) for _i in range(2))
        make_evaluation(serving, rows, kind="file")
        make_evaluation(make_version(project, FIVE), rows)
        mine = make_evaluation(make_version(project, FIVE), rows)
        answer = mia.get(f"{base(mine)}against/")
        assert answer["Location"] == f"{base(mine)}against/{second.pk}/"
        answer = mia.get(f"{base(mine)}against/?with={first.pk}")
        assert answer["Location"] == f"{base(mine)}against/{first.pk}/"
        # Measured twice, the version that serves is best compared with another one.
        answer = mia.get(f"{base(second)}against/")
        assert answer["Location"] == f"{base(second)}against/{mine.pk}/"

    def test_alone_it_says_what_to_do(
        self, mia: Client, evaluation: Evaluation
    ) -> None:
        assert "Nothing to compare with yet" in page(mia, f"{base(evaluation)}against/")

    def test_other_questions_cannot_be_compared(
        self, project: Project, mia: Client, evaluation: Evaluation
    ) -> None:
        other = make_evaluation(
            make_version(project, FIVE),
            [("else", ["bill"], ["bill"], 1.0)],
            kind="file",
        )
        html = page(mia, f"{base(evaluation)}against/{other.pk}/")
        assert "No question in common" in html

    def test_files_are_joined_by_text_each_once(
        self, project: Project, mia: Client
    ) -> None:
        one = make_version(project, FIVE)
        rows: list[Row] = [("[same]", ["bill"], ["card"], 0.4)] * 3
        old = make_evaluation(one, rows, kind="file")
        new = make_evaluation(
            one, [("[same]", ["bill"], ["bill"], 0.6)] * 2, kind="file"
        )
        html = page(mia, f"{base(new)}against/{old.pk}/")
        assert "1 question in common" in html
        assert broken_and_fixed(html) == (0, 1)
        assert "[same]" in html


def broken_and_fixed(html: str) -> tuple[int, int]:
    parts = html.partition('id="broken"')[2].partition('id="fixed"')
    return parts[0].count("tl-answer-text"), parts[2].count("tl-answer-text")


def pair(project: Project, *, fixed: int, broken: int) -> tuple[Evaluation, Evaluation]:
    """200 questions; the first `broken` of the newer one are, then come the fixed."""
    intent = project.intents.get(code="bill")
    questions = [make_labelled(project, intent) for _n in range(200)]
    old: list[Row] = []
    new: list[Row] = []
    for n, question in enumerate(questions):
        before = "card" if broken <= n < broken + fixed else "bill"
        after = "card" if n < broken else "bill"
        old.append((question.text, ["bill"], [before], 0.5))
        new.append((question.text, ["bill"], [after], 0.9))
    return (
        make_evaluation(make_version(project, FIVE), old, questions=questions),
        make_evaluation(make_version(project, FIVE), new, questions=questions),
    )


class TestMeasuring:
    def test_it_says_on_what_and_that_no_worker_listens(
        self, project: Project, mia: Client, evaluation: Evaluation
    ) -> None:
        version = evaluation.version
        project.questions.update(split="test")
        path = f"/train/versions/{version.pk}/measure/"
        html = page(mia, path)
        assert "100 questions" in html
        assert "There is none yet" in html  # nothing was asked and labelled blind
        answer = mia.post(path, {"kind": "test"})
        assert answer["Location"] == path
        run = version.evaluation_runs.get()
        assert (run.kind, run.state, run.by) == ("test", "queued", User.objects.get())
        for html in (page(mia, path), page(mia, f"{path}live/")):
            assert "No worker is running" in html
            assert "every 2s" in html

    def test_a_file_is_measured_and_leads_to_its_page(
        self, project: Project, mia: Client
    ) -> None:
        version = make_version(project, FIVE)
        path = f"/train/versions/{version.pk}/measure/"
        lines = "text,label\nbill please,bill\nmy card,card\nmy stock,loan\n"
        mia.post(path, {"kind": "file", "file": upload("rows.csv", lines)})
        run = version.evaluation_runs.get()
        assert measuring.execute(run.pk)
        run.refresh_from_db()
        assert (run.state, run.error) == ("done", "")
        assert run.evaluation is not None
        html = page(mia, path)
        assert "66.7 % right" in html
        assert base(run.evaluation) in html
        assert "every 2s" not in html
        assert "rows.csv" in page(mia, base(run.evaluation))
        document = json.loads(page(mia, f"{base(run.evaluation)}report.json"))
        assert set(document["metrics"]) <= set(document["keys"])
        wrong = page(mia, f"{base(run.evaluation)}questions/?show=wrong")
        assert "my stock" in wrong
        assert "bill please" not in wrong

    def test_a_run_that_failed_says_why(self, project: Project, mia: Client) -> None:
        version = make_version(project, FIVE)
        path = f"/train/versions/{version.pk}/measure/"
        mia.post(path, {"kind": "file", "file": upload("rows.csv", "text\nno label\n")})
        measuring.execute(version.evaluation_runs.get().pk)
        html = page(mia, path)
        assert "Failed" in html
        assert "no labelled questions" in html

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({}, ""),
            ({"kind": "nonsense"}, ""),
            ({"kind": "file"}, "Choose a file"),
            ({"kind": "file", "encoding": "nonsense"}, ""),
        ],
    )
    def test_nonsense_starts_nothing(
        self, project: Project, mia: Client, values: dict[str, str], words: str
    ) -> None:
        version = make_version(project, FIVE)
        response = mia.post(f"/train/versions/{version.pk}/measure/", values)
        assert response.status_code == 200
        assert words in response.content.decode()
        assert not version.evaluation_runs.exists()

    def test_a_file_that_is_too_large_is_refused(
        self, project: Project, mia: Client, settings: Any
    ) -> None:
        settings.LABELING_MAX_UPLOAD_MB = 0
        version = make_version(project, FIVE)
        path = f"/train/versions/{version.pk}/measure/"
        answer = mia.post(path, {"kind": "file", "file": upload("rows.csv", "text")})
        assert "larger than 0 MB" in answer.content.decode()
        assert not version.evaluation_runs.exists()

    def test_only_managers_start_one(self, project: Project) -> None:
        version = make_version(project, FIVE)
        for name in ("ann", "rex"):
            person = as_person(make_person(name, project))
            path = f"/train/versions/{version.pk}/measure/"
            assert person.post(path, {"kind": "test"}).status_code == 403
        assert not version.evaluation_runs.exists()


def upload(name: str, text: str) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, text.encode())


class TestReports:
    def test_the_json_says_what_its_keys_mean(
        self, mia: Client, evaluation: Evaluation
    ) -> None:
        response = mia.get(f"{base(evaluation)}report.json")
        assert "attachment" in response["Content-Disposition"]
        document = json.loads(response.content)
        assert list(document) == [
            *("format", "format_version", "project", "version", "evaluation"),
            *("metrics", "keys"),
        ]
        assert document["format"] == "tuneloop-evaluation"
        assert document["metrics"]["accuracy"] == evaluation.accuracy
        assert set(document["metrics"]) <= set(document["keys"])
        assert "question 1" not in response.content.decode()

    @pytest.mark.parametrize("language", ["en", "zh-hans"])
    def test_the_html_needs_nothing_else(
        self, mia: Client, evaluation: Evaluation, language: str
    ) -> None:
        mia.cookies["django_language"] = language
        response = mia.get(f"{base(evaluation)}report.html")
        html = response.content.decode()
        assert "attachment" in response["Content-Disposition"]
        assert f'<html lang="{language}">' in html
        assert "<svg" in html
        assert ".tl-matrix td" in html
        assert not re.search(r'(?:src|href|url\()\s*=?\s*["\']?(?:https?:|/)', html)
        assert "<script" not in html


class TestCost:
    def test_a_hundred_thousand_answers(
        self, project: Project, mia: Client, django_assert_max_num_queries: Any
    ) -> None:
        old, new = (
            make_evaluation(
                make_version(project, FIVE), make_rows(MANY, each=1, wrong=0.1)
            )
            for _i in range(2)
        )
        many_answers(project, old, new)
        for path, most in (
            (base(new), 12),
            (f"{base(new)}questions/?show=wrong&order=surest", 11),
            (f"{base(new)}questions/?right=intent_007&answered=intent_008", 11),
            # A join is five statements here: a savepoint, and the planner told.
            (f"{base(new)}against/{old.pk}/", 28),
            (f"{base(new)}against/{old.pk}/?more=fixed&after=500", 12),
        ):
            with django_assert_max_num_queries(most):
                page(mia, path)


def many_answers(project: Project, *evaluations: Evaluation) -> None:
    """Adds 100,000 questions, and an answer of each evaluation to each of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO labeling_question (project_id, text, text_hash, occurrences,"
            " first_seen, last_seen, origin, state, split, trained_in, method,"
            " predicted_by, priority)"
            " SELECT %s, 'many ' || n, md5(n::text), 0, now(), now(), 'imported',"
            " 'labelled', 'test', '', '', '', 1 FROM generate_series(1, 100000) n",
            [project.pk],
        )
        for evaluation in evaluations:
            cursor.execute(
                "INSERT INTO registry_evaluationanswer"
                " (evaluation_id, row, question_id, text, wanted, given, confidence,"
                " is_right)"
                " SELECT %(e)s, 1000 + row_number() OVER (ORDER BY id), id, text,"
                " jsonb_build_array('intent_' || lpad((id %% 150)::text, 3, '0')),"
                " jsonb_build_array('intent_' || lpad(((id + CASE WHEN wrong THEN 1"
                " ELSE 0 END) %% 150)::text, 3, '0')),"
                " abs(hashint8(id) %% 10000) / 10000.0, NOT wrong"
                " FROM (SELECT id, text, hashint8(id + %(e)s) %% 20 = 0 AS wrong"
                " FROM labeling_question WHERE project_id = %(p)s"
                " AND text LIKE 'many %%') many",
                {"e": evaluation.pk, "p": project.pk},
            )
        # Else each row's foreign key may be looked up by a plan of when the table was
        # empty, one after the other: minutes.
        cursor.execute("ANALYZE labeling_question, registry_evaluationanswer")
