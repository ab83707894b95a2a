"""REST of the registry: classify, feedback, versions."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import Prefetch
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from labeling.api.problems import Problem, responses
from labeling.models import ApiKey, Project
from labeling.taxonomy import UnknownIntent
from registry import artifacts, feedback, versions
from registry.api import bodies, classifying, lane, schemas
from registry.api.auth import ServingKeyAuthentication, key_of, target_of
from registry.models import Activation, Evaluation, Version
from registry.serving import listener

MAX_LISTED = 100
"""Versions that one call lists, the newest first."""
_MEASURED = (
    Evaluation.objects.filter(kind=Evaluation.Kind.TEST)
    .only("version_id", "accuracy", "macro_f1")
    .order_by("-id")
)


class ClassifyView(APIView):
    """`POST /classify`: one `text`, or up to 256 `texts`."""

    authentication_classes = [ServingKeyAuthentication]
    required_scope = ApiKey.Scope.CLASSIFY

    @extend_schema(
        operation_id="classify",
        request=schemas.ClassifyRequest,
        # As everywhere; this call's own class only reads more along.
        auth=[{"ApiKey": []}],  # type: ignore[list-item]
        responses={
            200: schemas.ClassifyAnswer,
            **responses(400, 401, 403, 409, 413, 429, 503),
        },
        examples=schemas.CLASSIFY_EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        """Answer one question or several; an answer is given once it is in the log."""
        # Web processes answer ordinary calls in `registry.api.lane`, ahead of this.
        listener.start()
        if (failure := lane.error_of(request)) is not None:
            raise failure
        body = bodies.classify(bodies.read(request))
        try:
            answered = classifying.answer(target_of(request), key_of(request), body)
        except classifying.REFUSALS as error:
            raise classifying.problem_of(error) from None
        return Response(answered)


class FeedbackView(APIView):
    """`POST /feedback`: what a client says of an answer."""

    required_scope = ApiKey.Scope.CLASSIFY

    @extend_schema(
        operation_id="feedback",
        request=schemas.FeedbackRequest,
        responses={200: schemas.FeedbackAnswer, **responses(400, 401, 403, 404)},
    )
    def post(self, request: Request) -> Response:
        """Say that an answer was right or wrong; a later word replaces the earlier."""
        body = bodies.feedback(bodies.read(request))
        try:
            given = feedback.give(
                key_of(request).project,
                body.request_id,
                verdict=body.verdict,
                intent_code=body.intent,
            )
        except feedback.UnknownRequest as error:
            raise Problem(404, "unknown_request", str(error)) from None
        except UnknownIntent as error:
            raise Problem(400, "unknown_intent", str(error)) from None
        return Response(
            {
                "request_id": str(body.request_id),
                "verdict": given.verdict,
                "intent": given.intent.code if given.intent else None,
            }
        )


class VersionsView(APIView):
    """`GET /model-tuning/versions`."""

    required_scope = ApiKey.Scope.MANAGE

    @extend_schema(
        operation_id="versions",
        responses={200: schemas.VersionList, **responses(401, 403)},
    )
    def get(self, request: Request) -> Response:
        """The project's latest 100 versions, the newest first."""
        listed = (
            key_of(request)
            .project.versions.order_by("-number")
            .select_related("parent")
            .prefetch_related(Prefetch("evaluations", _MEASURED))[:MAX_LISTED]
        )
        return Response({"versions": [_version(version) for version in listed]})


class ActivateView(APIView):
    """`POST /model-tuning/versions/{number}/activate`."""

    required_scope = ApiKey.Scope.MANAGE

    @extend_schema(
        operation_id="activate_version",
        request=schemas.ActivateRequest,
        responses={200: schemas.ActivationAnswer, **responses(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, number: int) -> Response:
        """Let a version serve. Against the gate it takes `force` and a `reason`."""
        body = bodies.activation(bodies.read(request))
        version = _find(key_of(request).project, number)
        try:
            done = versions.activate(
                version, by=_person(request), reason=body.reason, force=body.force
            )
        except versions.ReasonMissing as error:
            raise Problem(400, error.code, str(error)) from None
        except versions.GateRefused as error:
            raise Problem(
                409, error.code, str(error), gate_reasons=version.gate_reasons
            ) from None
        except (versions.VersionError, artifacts.ArtifactError) as error:
            raise _conflict(error) from None
        return Response(_activation(done))


class RollBackView(APIView):
    """`POST /model-tuning/versions/rollback`."""

    required_scope = ApiKey.Scope.MANAGE

    @extend_schema(
        operation_id="roll_back",
        request=schemas.RollBackRequest,
        responses={200: schemas.ActivationAnswer, **responses(400, 401, 403, 409)},
    )
    def post(self, request: Request) -> Response:
        """Let the version serve that was active before; again, the one before that."""
        body = bodies.activation(bodies.read(request))
        try:
            done = versions.roll_back(
                key_of(request).project, by=_person(request), reason=body.reason
            )
        except (versions.VersionError, artifacts.ArtifactError) as error:
            raise _conflict(error) from None
        return Response(_activation(done))


def _find(project: Project, number: int) -> Version:
    # Larger than what the column holds: there is no such version either.
    version = project.versions.filter(number=min(number, 2**31 - 1)).first()
    if version is None:
        detail = _("There is no version %(number)s.") % {"number": number}
        raise Problem(404, "unknown_version", detail)
    return version


def _person(request: Request) -> User:
    # The key's own user: a person, or the key's service account.
    assert isinstance(request.user, User)
    return request.user


def _conflict(error: versions.VersionError | artifacts.ArtifactError) -> Problem:
    code = getattr(error, "code", "artifact_damaged")
    return Problem(409, code, str(error))


def _version(version: Version) -> dict[str, Any]:
    latest = next(iter(version.evaluations.all()), None)
    return {
        "number": version.number,
        "state": version.state,
        "gate": version.gate,
        "gate_reasons": version.gate_reasons,
        "accuracy": latest.accuracy if latest else None,
        "macro_f1": latest.macro_f1 if latest else None,
        "intents": len(version.label_set),
        "trained_from": version.parent.number if version.parent else None,
        "created_at": version.created_at.isoformat(),
    }


def _activation(done: Activation) -> dict[str, Any]:
    return {
        "version": done.version.number,
        "previous": done.previous.number if done.previous else None,
        "kind": done.kind,
        "forced": done.forced,
        "reason": done.reason,
        "at": done.created_at.isoformat(),
    }
