"""The web process answers a question without ever importing torch."""

import subprocess
import sys
from typing import Any

import pytest

from registry import versions
from tests.makers import make_key, make_project
from tests.registry.makers import make_version

SCRIPT = """
import sys
import tuneloop.wsgi
from django.test import Client

response = Client(SERVER_NAME="localhost").post(
    "/api/v1/classify",
    {"text": "pay"},
    content_type="application/json",
    headers={"Authorization": f"Api-Key {sys.argv[1]}"},
)
assert response.status_code == 200, response.content
answer = response.json()
assert (answer["method"], answer["version"]) == ("model", "1"), answer
assert "onnxruntime" in sys.modules
print(sorted({"torch", "transformers", "peft", "accelerate"} & set(sys.modules)))
"""


@pytest.mark.django_db(transaction=True)
def test_a_served_question_imports_no_torch(process_env: Any) -> None:
    project = make_project()
    versions.activate(make_version(project, ["pay", "ship"]), by=None)
    _key, secret = make_key(project)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, secret],
        env=process_env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
