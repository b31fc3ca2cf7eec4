"""Sigma for typed tables: a DuckDB backend, correlations, and the mapping of Kubernetes audit fields."""

from audit_lab.signals.sigma.backend import DuckDBBackend
from audit_lab.signals.sigma.fields import Field, fields_of
from audit_lab.signals.sigma.mapping import audit_fields, audit_pipeline, to_column

__all__ = ["DuckDBBackend", "Field", "audit_fields", "audit_pipeline", "fields_of", "to_column"]
