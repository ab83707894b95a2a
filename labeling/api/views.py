"""REST of labeling: where a project stands, questions to label, keywords."""

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from labeling import datasets, queue, rules
from labeling.api import serializers
from labeling.api.problems import Problem, responses
from labeling.labels.annotations import InvalidVerdict
from labeling.models import ApiKey, Question
from labeling.queue import StaleLease
from labeling.taxonomy import UnknownIntent


def _key(request: Request) -> ApiKey:
    assert isinstance(request.auth, ApiKey)  # HasScope lets nobody else in
    return request.auth


class StatsView(APIView):
    """`GET /model-tuning/stats`."""

    required_scope = ApiKey.Scope.LABEL

    @extend_schema(
        operation_id="tuning_stats",
        responses={200: serializers.Stats, **responses(401, 403)},
        examples=[
            OpenApiExample(
                "Half way to the next training",
                response_only=True,
                value={
                    "project": "factory",
                    "questions": {
                        "open": 412,
                        "labelled": 1204,
                        "skipped": 9,
                        "disputed": 3,
                        "total": 1628,
                    },
                    "labels_until_training": 96,
                },
            )
        ],
    )
    def get(self, request: Request) -> Response:
        """Questions by state, and how many labels the next training waits for."""
        project = _key(request).project
        counts: dict[str, int] = dict.fromkeys(Question.State.values, 0)
        counts |= Question.objects.of(project).state_counts()
        return Response(
            {
                "project": project.slug,
                "questions": {**counts, "total": sum(counts.values())},
                "labels_until_training": datasets.missing_labels(project),
            }
        )


class UnlabeledView(APIView):
    """`GET /model-tuning/questions/unlabeled`."""

    required_scope = ApiKey.Scope.LABEL

    @extend_schema(
        operation_id="unlabeled_questions",
        parameters=[serializers.UnlabeledQuery],
        responses={200: serializers.Unlabeled, **responses(400, 401, 403)},
        examples=[
            OpenApiExample(
                "One question, held for five minutes",
                response_only=True,
                value={
                    "results": [
                        {
                            "id": 4711,
                            "text": "今天几点下班打卡?",
                            "occurrences": 12,
                            "last_seen": "2026-11-21T08:15:30+00:00",
                            "predicted": [
                                {"code": "clock_out", "confidence": 0.41},
                                {"code": "attendance_today", "confidence": 0.38},
                            ],
                            "confidence": 0.41,
                            "version": "3",
                            "blind": False,
                            "token": 90210,
                            "expires_at": "2026-11-21T08:20:30+00:00",
                        }
                    ]
                },
            )
        ],
    )
    def get(self, request: Request) -> Response:
        """Claim questions for the key's user, the most pressing first.

        Those that the user holds already come back with a fresh lease and count towards
        `limit`. A share is drawn at random and comes without a prediction, so that its
        labels measure the answers without being led by them. Give each annotator a key
        of their own.
        """
        query = serializers.UnlabeledQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        key = _key(request)
        held = queue.claim(key.project, key.user, limit=query.validated_data["limit"])
        return Response(serializers.Unlabeled({"results": held}).data)


class LabelView(APIView):
    """`POST /model-tuning/questions/{id}/label`."""

    required_scope = ApiKey.Scope.LABEL

    @extend_schema(
        operation_id="label_question",
        request=serializers.LabelRequest,
        responses={
            200: serializers.Labelled,
            **responses(400, 401, 403, 404, 409, 422),
        },
        examples=[
            OpenApiExample(
                "Label",
                request_only=True,
                value={"intent": "clock_out", "token": 90210, "time_spent_ms": 2400},
            ),
            OpenApiExample(
                "Labelled",
                response_only=True,
                status_codes=["200"],
                value={"id": 4711, "state": "labelled", "intents": ["clock_out"]},
            ),
        ],
    )
    def post(self, request: Request, question_id: int) -> Response:
        """Label a question that the key's user holds.

        `stale_lease` (409): somebody else has the question by now, nothing was written.
        """
        body = serializers.LabelRequest(data=request.data)
        body.is_valid(raise_exception=True)
        key = _key(request)
        question = Question.objects.of(key.project).filter(pk=question_id)
        if not question.exists():
            raise NotFound(_("The project has no such question."))
        try:
            annotation = queue.submit(question_id, key.user, **body.validated_data)
        except StaleLease as error:
            raise Problem(409, "stale_lease", str(error)) from None
        except UnknownIntent as error:
            raise Problem(
                422, "unknown_intent", str(error), intents=error.codes
            ) from None
        except InvalidVerdict as error:
            raise Problem(422, "wrong_number_of_intents", str(error)) from None
        answer: dict[str, Any] = {
            "id": question_id,
            "state": question.values_list("state", flat=True).get(),
            "intents": [intent.code for intent in annotation.intents.all()],
        }
        return Response(answer)


class ExtractKeywordsView(APIView):
    """`POST /model-tuning/keywords/extract`."""

    required_scope = ApiKey.Scope.MANAGE

    @extend_schema(
        operation_id="extract_keywords",
        request=serializers.ExtractRequest,
        responses={200: serializers.Keywords, **responses(400, 401, 403)},
        examples=[
            OpenApiExample(
                "Three or more", request_only=True, value={"min_support": 3}
            ),
            OpenApiExample(
                "A candidate",
                response_only=True,
                value={
                    "results": [
                        {
                            "id": 17,
                            "pattern": "打卡",
                            "intent": "clock_in",
                            "support": 24,
                            "success_rate": 0.96,
                            "success_low": 0.8,
                            "boost": 0.92,
                            "state": "candidate",
                        }
                    ]
                },
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        """Mine keyword rules from the labels; a manager approves them in the admin."""
        body = serializers.ExtractRequest(data=request.data)
        body.is_valid(raise_exception=True)
        found = rules.mine(
            _key(request).project, support=body.validated_data["min_support"]
        )
        return Response(serializers.Keywords({"results": found}).data)
