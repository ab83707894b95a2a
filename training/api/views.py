"""Training's API: batches, and measuring a version again."""

from typing import Any

from django.contrib.auth.models import User
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from labeling.api.problems import Problem, responses
from labeling.models import ApiKey, Project
from registry.models import Evaluation, Version
from training import batches
from training.api import serializers
from training.batches import queueing
from training.models import TrainingBatch

MAX_LISTED = 100


class BatchesView(APIView):
    """The project's batches."""

    required_scope = ApiKey.Scope.MANAGE

    @extend_schema(
        operation_id="batches_list",
        parameters=[
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "default": 20},
                description=f"Most batches to list; {MAX_LISTED} at most.",
            ),
            OpenApiParameter(
                "before",
                {"type": "integer", "minimum": 1},
                description="Only batches older than the one with this id.",
            ),
        ],
        responses={200: serializers.BatchListSerializer, **responses(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        """The latest batches, newest first; `before` an id goes further back."""
        rows = _batches(_project(request)).order_by("-id")
        before = _number(request, "before", default=0)
        if before:
            rows = rows.filter(pk__lt=before)
        limit = min(MAX_LISTED, _number(request, "limit", default=20))
        found = serializers.BatchSerializer(rows[:limit], many=True)
        return Response({"results": found.data})

    @extend_schema(
        operation_id="batches_create",
        request=serializers.BatchRequestSerializer,
        responses={
            201: serializers.BatchDetailSerializer,
            **responses(400, 401, 403, 409, 422),
        },
    )
    def post(self, request: Request) -> Response:
        """Freezes a dataset and queues a batch on it.

        409 `not_enough_labels` says in `missing` how many; 409 `batch_running` names
        the `batch` that is under way; 422 `invalid_recipe`, `base_model_unknown`.
        """
        asked = serializers.BatchRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        project = _project(request)
        parent = None
        if values["version"] is not None:
            parent = project.versions.filter(number=values["version"]).first()
            if parent is None:
                detail = _("There is no version %d.") % values["version"]
                raise Problem(422, "version_unknown", detail)
        try:
            batch = batches.create(
                project,
                preset=values["preset"],
                overrides=values["overrides"],
                base=values["base"],
                parent=parent,
                by=_person(request),
                with_synthetic=values["with_synthetic"],
                processes=values["processes"],
                force=values["force"],
            )
        except batches.BatchError as error:
            raise _problem(error) from error
        return Response(_detail(project, batch.pk), status=201)


class BatchView(APIView):
    """One batch."""

    required_scope = ApiKey.Scope.MANAGE

    @extend_schema(
        operation_id="batches_retrieve",
        responses={
            200: serializers.BatchDetailSerializer,
            **responses(401, 403, 404),
        },
    )
    def get(self, request: Request, batch_id: int) -> Response:
        """Its state, progress, curves and log."""
        return Response(_detail(_project(request), batch_id))


class BatchRunView(APIView):
    """Starts a batch that waits, failed or was cancelled."""

    required_scope = ApiKey.Scope.MANAGE

    @extend_schema(
        operation_id="batches_run",
        request=None,
        responses={
            202: serializers.BatchDetailSerializer,
            **responses(401, 403, 404, 409),
        },
    )
    def post(self, request: Request, batch_id: int) -> Response:
        """Puts the batch on the queue; 409 `wrong_state` if it runs or is done."""
        project = _project(request)
        batch = get_object_or_404(_batches(project), pk=batch_id)
        try:
            batches.start(batch, _person(request))
        except batches.BatchError as error:
            raise _problem(error) from error
        return Response(_detail(project, batch_id), status=202)


class EvaluateView(APIView):
    """Measures a version on the project's test questions of today."""

    required_scope = ApiKey.Scope.MANAGE

    @extend_schema(
        operation_id="versions_evaluation",
        responses={200: serializers.EvaluationSerializer, **responses(401, 403, 404)},
    )
    def get(self, request: Request, number: int) -> Response:
        """The latest measurement on the test questions."""
        found = (
            Evaluation.objects.filter(
                version__project=_project(request),
                version__number=number,
                kind=Evaluation.Kind.TEST,
            )
            .select_related("version")
            .order_by("-id")
            .first()
        )
        if found is None:
            raise Http404
        return Response(serializers.EvaluationSerializer(found).data)

    @extend_schema(
        operation_id="versions_evaluate",
        request=None,
        responses={
            202: serializers.AcceptedSerializer,
            **responses(401, 403, 404, 503),
        },
    )
    def post(self, request: Request, number: int) -> Response:
        """Has a worker measure the version and renew the gate's verdict.

        Takes a worker some seconds; the result is what GET answers then.
        """
        versions = Version.objects.filter(project=_project(request))
        version = get_object_or_404(versions, number=number)
        try:
            queueing.evaluate(version.pk)
        except RedisError as error:
            detail = _("The queue is not available. Try again soon.")
            raise Problem(503, "unavailable", detail, retry_after_s=5) from error
        accepted = serializers.AcceptedSerializer({"version": number})
        return Response(accepted.data, status=202)


def _project(request: Request) -> Project:
    """The key's project; `HasScope` let nothing but a key through."""
    assert isinstance(request.auth, ApiKey)
    return request.auth.project


def _person(request: Request) -> User:
    assert isinstance(request.user, User)
    return request.user


def _batches(project: Project) -> Any:
    return TrainingBatch.objects.filter(project=project).select_related(
        "dataset", "parent", "version"
    )


def _detail(project: Project, batch_id: int) -> Any:
    rows = _batches(project).prefetch_related("steps")
    batch = get_object_or_404(rows, pk=batch_id)
    return serializers.BatchDetailSerializer(batch).data


def _number(request: Request, name: str, *, default: int) -> int:
    given = request.query_params.get(name, "")
    if not given:
        return default
    if not given.isdecimal() or len(given) > 18 or not int(given):
        detail = _("“%s” is a whole number above 0.") % name
        raise Problem(400, "invalid", detail)
    return int(given)


def _problem(error: batches.BatchError) -> Problem:
    match error:
        case batches.NotEnoughLabels():
            extra = {"missing": error.missing}
            return Problem(409, "not_enough_labels", str(error), **extra)
        case batches.BatchUnderWay():
            return Problem(409, "batch_running", str(error), batch=error.batch.pk)
        case batches.NothingToTrainOn():
            return Problem(409, "nothing_to_train_on", str(error))
        case batches.WrongState():
            return Problem(409, "wrong_state", str(error))
        case batches.UnknownBase():
            return Problem(422, "base_model_unknown", str(error))
        case batches.InvalidRecipe():
            return Problem(422, "invalid_recipe", str(error))
    return Problem(409, "batch_refused", str(error))
