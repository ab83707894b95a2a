"""classify, activate, rollback and issue_key, as scripts use them."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from labeling.models import ApiKey, Project, Question
from registry import versions
from registry.models import ClassificationLog
from tests.makers import make_project
from tests.registry.makers import make_version

pytestmark = pytest.mark.django_db


def run(*args: Any, **options: Any) -> str:
    out = StringIO()
    call_command(*args, stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


@pytest.fixture
def project() -> Project:
    project = make_project(slug="shop")
    make_version(project, ["pay", "ship"], active=True)
    return project


@pytest.mark.usefixtures("project")
class TestClassify:
    def test_json_is_the_rest_answer_and_nothing_is_logged(self) -> None:
        results = json.loads(run("classify", "shop", "pay", "ship", "--json"))[
            "results"
        ]
        assert [r["intents"][0]["code"] for r in results] == ["pay", "ship"]
        assert results[0]["version"] == "1"
        assert results[0]["request_id"] is None
        assert not ClassificationLog.objects.exists()
        assert not Question.objects.exists()

    def test_lines_for_people(self) -> None:
        (line,) = run("classify", "shop", "pay").splitlines()
        assert "pay" in line
        assert "v1" in line

    def test_a_file_of_any_length(self, tmp_path: Path) -> None:
        path = tmp_path / "texts.txt"
        path.write_text("\ufeffpay\n\nship\r\n" + "ship\n" * 300, "utf-8")
        results = json.loads(run("classify", "shop", "--file", path, "--json"))[
            "results"
        ]
        codes = [r["intents"][0]["code"] for r in results]
        assert codes == ["pay"] + ["ship"] * 301

    def test_mistakes_are_one_clear_line(self, tmp_path: Path) -> None:
        (tmp_path / "gbk.txt").write_bytes("打卡".encode("gb18030"))
        for args, message in [
            (["nowhere", "pay"], "no project"),
            (["shop"], "Give a TEXT"),
            (["shop", " "], "text: no text"),
            (["shop", "x" * 2001], "too long"),
            (["shop", "pay", "--top-k", "0"], "--top-k"),
            (["shop", "--file", str(tmp_path / "none.txt")], "No such file"),
            (["shop", "--file", str(tmp_path / "gbk.txt")], "not UTF-8"),
        ]:
            with pytest.raises(CommandError, match=message) as raised:
                run("classify", *args)
            assert "\n" not in str(raised.value)


def test_activate_and_roll_back(project: Project) -> None:
    make_version(project, gate="refused")
    with pytest.raises(CommandError, match="refused"):
        run("activate", "shop", "2")
    with pytest.raises(CommandError, match="why"):
        run("activate", "shop", "2", "--force")
    assert "2" in run("activate", "shop", "2", "--force", "--reason", "a pilot")
    assert versions.active(project).number == 2
    assert "1" in run("rollback", "shop", "--reason", "no good")
    assert versions.active(project).number == 1
    with pytest.raises(CommandError, match="before"):
        run("rollback", "shop")
    with pytest.raises(CommandError, match="no version 9"):
        run("activate", "shop", "9")
    with pytest.raises(CommandError, match="no project"):
        run("rollback", "nowhere")


def test_a_key_is_the_last_line(project: Project, client: Any) -> None:
    secret = run("issue_key", "shop", "the app").splitlines()[-1]
    response = client.post(
        "/api/v1/classify",
        {"text": "pay"},
        content_type="application/json",
        headers={"Authorization": f"Api-Key {secret}"},
    )
    assert response.status_code == 200
    assert ApiKey.objects.get().scope == "classify"
    run("issue_key", "shop", "a tool", "--scope", "manage")
    assert ApiKey.objects.filter(scope="manage").count() == 1
    with pytest.raises(CommandError, match="already"):
        run("issue_key", "shop", "the app")
    with pytest.raises(CommandError, match="no project"):
        run("issue_key", "nowhere", "x")
    with pytest.raises(CommandError, match="1 to 80"):
        run("issue_key", "shop", "x" * 81)
