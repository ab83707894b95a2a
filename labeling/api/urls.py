"""Addresses of the labeling API."""

from django.urls import URLPattern

import labeling.api.schema  # noqa: F401  registers itself with drf-spectacular

urlpatterns: list[URLPattern] = []
