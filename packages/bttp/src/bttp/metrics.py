"""Counters for Prometheus: the text, and an endpoint (for threads: `bttp.blocking.serve_metrics`)."""

from ._metrics import serve_metrics
from ._prometheus import CONTENT_TYPE, label_text, prometheus_text

__all__ = ["CONTENT_TYPE", "label_text", "prometheus_text", "serve_metrics"]
