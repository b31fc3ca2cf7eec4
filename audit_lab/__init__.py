"""Audit Lab: find the few Kubernetes audit sessions that matter, and show how well that works."""

__version__ = "0.1.0"
