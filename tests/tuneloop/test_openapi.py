"""The OpenAPI schema and the error table say all that the sources can answer."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from jsonschema_rs import validator_for

from registry import versions
from tests.homes import ROOT
from tuneloop.openapi import ERRORS, error_table

TABLE = ROOT / "registry" / "api" / "ERRORS.md"
SOURCES = [
    *(ROOT / "labeling" / "api").glob("*.py"),
    *(ROOT / "registry" / "api").glob("*.py"),
    *(ROOT / "training" / "api").glob("*.py"),
]
FRAMEWORK = {"method_not_allowed", "not_acceptable", "unsupported_media_type"}
"""Codes that REST framework makes by itself."""


def codes_in(source: str) -> set[str]:
    """Codes that a module gives to Problem(status, code), _refuse(code), code=..."""
    found = set()
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        given = {"Problem": 1, "_plain": 2, "_refuse": 0, "body": 1}.get(name)
        values = (
            [call.args[given]] if given is not None and len(call.args) > given else []
        )
        if name in ("ParseError", "NotAuthenticated", "AuthenticationFailed"):
            values += [k.value for k in call.keywords if k.arg == "code"]
        for value in values:
            if isinstance(value, ast.Constant) and re.fullmatch(
                "[a-z_]+", str(value.value)
            ):
                found.add(str(value.value))
    return found


def schema() -> dict[str, Any]:
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


def operations() -> list[tuple[str, dict[str, Any]]]:
    return [
        (path, operation)
        for path, methods in schema()["paths"].items()
        for operation in methods.values()
    ]


def test_the_search_finds_codes() -> None:
    source = (
        'Problem(409, "taken", "x")\n_refuse("empty", y)\nParseError(z, code="bad")'
    )
    assert codes_in(source) == {"taken", "empty", "bad"}
    everything = set().union(*(codes_in(path.read_text()) for path in SOURCES))
    assert len(everything) > 30


def test_every_code_is_in_the_table() -> None:
    listed = {error.code for error in ERRORS}
    used = set().union(*(codes_in(path.read_text()) for path in SOURCES)) | FRAMEWORK
    # The API answers with what the domain calls its refusals.
    refusals: list[type[versions.VersionError]] = [versions.VersionError]
    for refusal in refusals:
        refusals += refusal.__subclasses__()
    used |= {refusal.code for refusal in refusals} | {"artifact_damaged"}
    assert used == listed


def test_no_code_stands_twice_for_a_status() -> None:
    pairs = [(error.status, error.code) for error in ERRORS]
    assert len(pairs) == len(set(pairs))


def test_the_table_beside_the_code_is_the_one_that_the_code_makes() -> None:
    """To write it anew: python manage.py error_table > registry/api/ERRORS.md."""
    assert (
        TABLE.read_text().partition("| status")[2]
        == error_table().partition("| status")[2]
    )


def test_calls_that_the_table_names_exist() -> None:
    names = {operation["operationId"] for _path, operation in operations()}
    assert {call for error in ERRORS for call in error.calls} <= names


def test_every_call_says_what_it_does_needs_and_answers() -> None:
    for path, operation in operations():
        about = (path, operation["operationId"])
        assert operation["summary"], about
        assert re.search(
            "Scope: `(classify|label|manage)`", operation["description"]
        ), about
        assert {"401", "403", "503"} <= operation["responses"].keys(), about
        for answer in operation["responses"].values():
            assert answer["description"], about
            assert answer["headers"]["X-Request-Id"]["required"], about


def test_every_body_has_examples_that_fit_its_schema() -> None:
    document = schema()
    checked = 0
    for _path, operation in operations():
        bodies = [operation.get("requestBody", {"content": {}})]
        bodies += [a for s, a in operation["responses"].items() if s < "300"]
        for body in bodies:
            for content in body["content"].values():
                examples = content.get("examples")
                assert examples, (operation["operationId"], body)
                whole = {
                    **as_json_schema(content["schema"]),
                    "components": as_json_schema(document["components"]),
                }
                for example in examples.values():
                    validator_for(whole).validate(example["value"])
                    checked += 1
    assert checked > 20


def as_json_schema(part: Any) -> Any:
    """OpenAPI 3.0's `nullable` in JSON Schema's words."""
    if isinstance(part, list):
        return [as_json_schema(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: as_json_schema(value) for key, value in part.items()}
    if made.pop("nullable", False):
        return {"anyOf": [made, {"type": "null"}]}
    return made


@pytest.mark.django_db
def test_the_schema_is_valid_and_served(tmp_path: Path) -> None:
    call_command(
        "spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "s")
    )
    answer = Client().get("/api/v1/schema/")
    assert answer.status_code == 200
    assert "rate_limited" in answer.content.decode()
    assert Client().get("/api/v1/docs/").status_code == 200
