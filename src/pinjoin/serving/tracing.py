"""The one place that imports OpenTelemetry, where spans are asked for, or says how to get it.

Where they go is told by OpenTelemetry's own variables: OTEL_EXPORTER_OTLP_ENDPOINT and others.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from pinjoin.core.errors import ConfigError

_QUIET = "healthz,readyz,metrics,static/"


def trace(app: FastAPI, exporter: Any = None) -> None:
    """Send a span for each request to an exporter; None: by OTLP. ConfigError without it."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"Tracing needs {error.name}, which is not installed: pip install 'pinjoin[otel]'."
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "pinjoin"}))
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    app.add_middleware(
        OpenTelemetryMiddleware,
        tracer_provider=provider,
        excluded_urls=_QUIET,
        exclude_spans=["receive", "send"],
    )
    app.state.tracer_provider = provider
