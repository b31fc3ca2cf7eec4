"""Everything becomes a report: one HTML file for people who decide, offline, from tables alone."""

from audit_lab.govern.inputs import ReportInput
from audit_lab.govern.report import render_report, write_report

__all__ = ["ReportInput", "render_report", "write_report"]
