"""What the OpenAPI schema cannot see by itself."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from labeling.api.auth import ApiKeyAuthentication


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Tells the OpenAPI schema how keys are sent."""

    target_class = ApiKeyAuthentication
    match_subclasses = True
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Api-Key <key>`; a key belongs to one project.",
        }
