"""Evaluation: how well it works, at the level of sessions and of incidents, and how sure we are."""

from audit_lab.evaluate.audits import estimate_from_audits, plan_audits
from audit_lab.evaluate.calibrated import LearntCalibrator
from audit_lab.evaluate.calibrators import Calibration, Calibrator, fit_calibrator
from audit_lab.evaluate.cases import case_truth, judge_figures
from audit_lab.evaluate.changes import change_points, error_changes, first_alarm, watch_limit
from audit_lab.evaluate.comparison import compare_versions, injection_success
from audit_lab.evaluate.drift import centroid_drift, drift_by_week, find_drift, new_values, session_observations
from audit_lab.evaluate.drift_counts import FAMILIES, DriftCounts, count_drift, merge_counts
from audit_lab.evaluate.drift_periods import drift_periods
from audit_lab.evaluate.evaluation import evaluate, n_days
from audit_lab.evaluate.experiments import compare_runs, expand_grid, experiment_row, plan_runs, read_grid
from audit_lab.evaluate.intervals import Rate, bootstrap_actors, exact, wilson
from audit_lab.evaluate.ladder import Rung, ladder
from audit_lab.evaluate.learn_then_test import calibrate_fpr, calibrate_precision, calibrate_recall
from audit_lab.evaluate.neyman_pearson import Promise, calibrate, calibrate_budget, needed_units
from audit_lab.evaluate.operating import at_budget, fpr_at_recall, precision_at_prevalence, threshold_sweep
from audit_lab.evaluate.policies import CostChoice, Costs, cheapest_threshold, group_thresholds, warm_up_threshold
from audit_lab.evaluate.population import reviewed_cases
from audit_lab.evaluate.probability import brier, calibration_error, probability_figures, reliability_curve
from audit_lab.evaluate.promises import cheapest, choose_threshold, incident_bests, thresholds_by_group
from audit_lab.evaluate.proposals import profile_lines, threshold_proposal
from audit_lab.evaluate.ranking import average_precision
from audit_lab.evaluate.result import Evaluation
from audit_lab.evaluate.scripted import SCRIPTS, Script, scripted_verdicts
from audit_lab.evaluate.splits import decay, require_time_order, split_by_time

__all__ = [
    "FAMILIES", "SCRIPTS", "Calibration", "Calibrator", "CostChoice", "Costs", "DriftCounts", "Evaluation", "LearntCalibrator", "Promise",
    "Rate", "Rung", "Script", "at_budget", "average_precision", "bootstrap_actors", "brier", "calibrate", "calibrate_budget",
    "calibrate_fpr", "calibrate_precision", "calibrate_recall", "calibration_error", "case_truth", "centroid_drift", "change_points",
    "cheapest", "cheapest_threshold", "choose_threshold", "compare_runs", "compare_versions", "count_drift", "decay", "drift_by_week",
    "drift_periods", "error_changes", "estimate_from_audits", "evaluate", "exact", "expand_grid", "experiment_row", "find_drift",
    "first_alarm", "fit_calibrator", "fpr_at_recall", "group_thresholds", "incident_bests", "injection_success", "judge_figures",
    "ladder", "merge_counts", "n_days", "needed_units", "new_values", "plan_audits", "plan_runs", "precision_at_prevalence",
    "probability_figures", "profile_lines", "read_grid", "reliability_curve", "require_time_order", "reviewed_cases", "scripted_verdicts",
    "session_observations", "split_by_time", "threshold_proposal", "threshold_sweep", "thresholds_by_group", "warm_up_threshold",
    "watch_limit", "wilson",
]
