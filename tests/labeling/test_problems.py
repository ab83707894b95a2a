"""Every error below /api/ is a problem object, and a key says who calls."""

import json
import logging
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.test import Client, override_settings
from django.urls import include, path
from django.utils import timezone
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from labeling import access
from labeling.api.problems import Problem
from labeling.models import ApiKey
from tests.makers import make_key, make_project

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class _Body(serializers.Serializer):
    text = serializers.CharField(max_length=20)
    count = serializers.IntegerField(required=False)
    share = serializers.FloatField(required=False)


class Echo(APIView):
    required_scope = "label"

    def post(self, request):
        body = _Body(data=request.data)
        body.is_valid(raise_exception=True)
        return Response({"by": request.user.username, **body.validated_data})


class Fails(APIView):
    required_scope = "classify"

    def get(self, request):
        match request.GET["how"]:
            case "bug":
                raise ZeroDivisionError("the secret of the house")
            case "database":
                raise OperationalError("connection refused")
            case "problem":
                raise Problem(409, "stale_lease", "Too late.", question=7)


urlpatterns = [
    path("api/v1/echo", Echo.as_view()),
    path("api/v1/fails", Fails.as_view()),
    path("", include("tuneloop.urls")),
]
handler400 = "labeling.api.problems.bad_request"
handler404 = "labeling.api.problems.page_not_found"
handler500 = "labeling.api.problems.server_error"


@pytest.fixture
def key():
    return make_key(make_project(slug="a"), scope="label")


def post(secret, body, content_type="application/json"):
    headers = {"Authorization": f"Api-Key {secret}"} if secret is not None else {}
    return Client().post(
        "/api/v1/echo", data=body, content_type=content_type, headers=headers
    )


def problem(response, status, code):
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = json.loads(response.content)
    assert body["status"] == status
    assert body["code"] == code
    assert body["title"]
    assert body["type"] == "about:blank"
    assert body["detail"]
    return body


def test_a_good_call_is_answered_as_the_keys_user(key):
    response = post(key[1], '{"text": "你好 \\ud83d\\ude00"}')
    assert response.status_code == 200
    assert response.json() == {"by": key[0].user.username, "text": "你好 😀"}


def test_authentication_is_one_query_with_project_and_user(
    key, django_assert_num_queries
):
    post(key[1], '{"text": "x"}')  # writes last_used_at
    with django_assert_num_queries(1):
        assert post(key[1], '{"text": "x"}').status_code == 200


def test_last_used_is_written_once_a_minute(key):
    post(key[1], '{"text": "x"}')
    first = ApiKey.objects.get(pk=key[0].pk).last_used_at
    assert first is not None
    post(key[1], '{"text": "x"}')
    assert ApiKey.objects.get(pk=key[0].pk).last_used_at == first
    long_ago = timezone.now() - timedelta(seconds=61)
    ApiKey.objects.update(last_used_at=long_ago)
    post(key[1], '{"text": "x"}')
    assert ApiKey.objects.get(pk=key[0].pk).last_used_at > first


def test_no_key(key):
    response = post(None, '{"text": "x"}')
    problem(response, 401, "key_missing")
    assert response["WWW-Authenticate"].startswith("Api-Key")


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer x", "", "Api-Keyx y"])
def test_another_scheme_counts_as_no_key(key, header):
    response = Client().post("/api/v1/echo", headers={"Authorization": header})
    problem(response, 401, "key_missing")


@pytest.mark.parametrize("secret", ["", "tl_wrong", "ü\x00", "a b", "x" * 10_000])
def test_a_wrong_key(key, secret):
    response = post(secret, '{"text": "x"}')
    problem(response, 401, "invalid_key")
    assert response["WWW-Authenticate"].startswith("Api-Key")


def test_a_revoked_key(key):
    access.revoke_key(key[0])
    problem(post(key[1], '{"text": "x"}'), 401, "invalid_key")


def test_a_key_of_somebody_who_left(key):
    key[0].user.is_active = False
    key[0].user.save()
    problem(post(key[1], '{"text": "x"}'), 401, "invalid_key")


def test_a_key_with_too_small_a_scope():
    _key, secret = make_key(make_project(), scope="classify")
    problem(post(secret, '{"text": "x"}'), 403, "scope_too_small")


def test_a_larger_scope_includes_the_smaller():
    _key, secret = make_key(make_project(), scope="manage")
    assert post(secret, '{"text": "x"}').status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe\x00\x01",
        '{"text": "订单"}'.encode("gb18030"),
        b'{"text": "\\ud800"}',
        b'{"text": "\\udc00\\ud800"}',
        b'{"\\u0000": 1}',
        b'{"text": ["a", {"b": "x\\u0000y"}]}',
        b'{"share": NaN}',
        b'{"share": -Infinity}',
        b'{"share": 1e999}',
        b'{"count": ' + b"9" * 5000 + b"}",
        b'{"share": ' + b"9" * 400 + b"}",
        b'{"count": 9223372036854775808}',
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_malformed_json(key, body):
    problem(post(key[1], body), 400, "malformed_json")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "text"),
        (b"", "text"),
        (b"null", "non_field_errors"),
        (b"[1]", "non_field_errors"),
        (b'"x"', "non_field_errors"),
        (b'{"text": {"a": 1}}', "text"),
        (b'{"text": "   "}', "text"),
        (b'{"text": "123456789012345678901"}', "text"),
        (b'{"text": "x", "count": 1.5}', "count"),
        (b'{"text": "x", "share": [[[]]]}', "share"),
    ],
)
def test_invalid_fields(key, body, field):
    errors = problem(post(key[1], body), 400, "invalid")["errors"]
    assert list(errors) == [field]
    assert all(isinstance(message, str) for message in errors[field])


def test_a_charset_of_the_clients_own_does_not_matter(key):
    headers = {"Authorization": f"Api-Key {key[1]}"}

    def send(body, charset):
        kind = f"application/json; charset={charset}"
        return Client().generic("POST", "/api/v1/echo", body, kind, headers=headers)

    body = '{"text": "订单"}'
    problem(send(body.encode("utf-16"), "utf-16"), 400, "malformed_json")
    assert send(body.encode(), "bz2_codec").status_code == 200


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100)
def test_too_large_a_body(key):
    body = json.dumps({"text": "x" * 200})
    problem(post(key[1], body), 413, "body_too_large")


def test_wrong_media_type_and_method(key):
    response = post(key[1], "text=x", "application/x-www-form-urlencoded")
    problem(response, 415, "unsupported_media_type")
    headers = {"Authorization": f"Api-Key {key[1]}"}
    response = Client().get("/api/v1/echo", headers=headers)
    problem(response, 405, "method_not_allowed")
    assert "POST" in response["Allow"]
    response = Client().get("/api/v1/echo", headers={**headers, "Accept": "image/png"})
    problem(response, 406, "not_acceptable")


@pytest.mark.parametrize("method", ["get", "post", "delete"])
@pytest.mark.parametrize("address", ["nothing", "x" * 5000, "%00", "%ff"])
def test_unknown_address(method, address):
    problem(getattr(Client(), method)(f"/api/{address}"), 404, "not_found")


def test_outside_the_api_errors_are_pages():
    response = Client().get("/nothing")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


def test_a_host_that_is_not_ours():
    response = Client().get("/api/v1/echo", headers={"Host": "evil.example"})
    problem(response, 400, "bad_request")


def test_what_nobody_expected_is_logged_and_tells_nothing(key, caplog):
    client = Client(
        raise_request_exception=False, headers={"Authorization": f"Api-Key {key[1]}"}
    )
    with caplog.at_level(logging.ERROR, "labeling.api.problems"):
        response = client.get("/api/v1/fails?how=bug")
    problem(response, 500, "server_error")
    assert b"secret of the house" not in response.content
    assert "secret of the house" in caplog.text


def test_a_database_that_is_away(key):
    headers = {"Authorization": f"Api-Key {key[1]}"}
    response = Client().get("/api/v1/fails?how=database", headers=headers)
    problem(response, 503, "unavailable")
    assert response["Retry-After"] == "1"
    assert b"refused" not in response.content


def test_a_problem_carries_its_extras(key):
    headers = {"Authorization": f"Api-Key {key[1]}"}
    response = Client().get("/api/v1/fails?how=problem", headers=headers)
    assert problem(response, 409, "stale_lease")["question"] == 7


def test_details_speak_the_callers_language(key):
    headers = {"Authorization": "Api-Key x", "Accept-Language": "zh-hans"}
    body = problem(Client().post("/api/v1/echo", headers=headers), 401, "invalid_key")
    assert body["code"] == "invalid_key"


def test_the_schema_knows_how_keys_are_sent():
    response = Client().get("/api/v1/schema/", headers={"Accept": "application/json"})
    assert response.status_code == 200
    schemes = response.json()["components"]["securitySchemes"]
    assert schemes["ApiKey"]["name"] == "Authorization"
