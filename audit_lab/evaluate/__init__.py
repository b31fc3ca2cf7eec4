"""Evaluation: how well it works, at the level of sessions and of incidents, and how sure we are."""

from audit_lab.evaluate.calibrators import Calibrator, fit_calibrator
from audit_lab.evaluate.evaluation import evaluate
from audit_lab.evaluate.intervals import Rate, exact, wilson
from audit_lab.evaluate.neyman_pearson import Promise, calibrate, calibrate_budget, needed_units
from audit_lab.evaluate.operating import at_budget, fpr_at_recall, precision_at_prevalence, threshold_sweep
from audit_lab.evaluate.policies import Costs, cheapest_threshold, group_thresholds, warm_up_threshold
from audit_lab.evaluate.probability import brier, calibration_error, reliability_curve
from audit_lab.evaluate.ranking import average_precision
from audit_lab.evaluate.result import Evaluation

__all__ = [
    "Calibrator", "Costs", "Evaluation", "Promise", "Rate", "at_budget", "average_precision", "brier", "calibrate", "calibrate_budget",
    "calibration_error", "cheapest_threshold", "evaluate", "exact", "fit_calibrator", "fpr_at_recall", "group_thresholds", "needed_units",
    "precision_at_prevalence", "reliability_curve", "threshold_sweep", "warm_up_threshold", "wilson",
]
