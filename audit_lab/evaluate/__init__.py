"""Evaluate: how well it works, at the level of sessions and of incidents, and how sure we are."""

from audit_lab.evaluate.evaluation import Evaluation, evaluate
from audit_lab.evaluate.intervals import Rate, wilson
from audit_lab.evaluate.ranking import average_precision

__all__ = ["Evaluation", "Rate", "average_precision", "evaluate", "wilson"]
