"""Addresses of the registry outside the API: what a load balancer asks."""

from django.urls import path

from registry import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
