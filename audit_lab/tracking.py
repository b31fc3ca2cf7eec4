"""Runs of experiments in MLflow, for those who follow theirs there: only where `experiments.mlflow` names a tracking URI."""

from __future__ import annotations

import importlib.util
import json
import os
import re

import polars as pl

from audit_lab.errors import InputError, MissingExtraError

# MLflow allows these characters in names of parameters and metrics.
_FORBIDDEN = re.compile(r"[^\w./ -]")


def require_tracking() -> None:
    """Say at once when MLflow is missing.

    Raises
    ------
    MissingExtraError
        When it is not installed.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise MissingExtraError.for_extra("runs in MLflow", "mlflow")


def log_runs(uri: str, name: str, experiments: pl.DataFrame, metrics: pl.DataFrame) -> int:
    """Log runs to MLflow and return how many were new; a run that is there already is left alone.

    Parameters
    ----------
    uri
        Tracking URI, e.g. sqlite:///mlflow.db or a server's.
    name
        Name of the MLflow experiment: the grid's.
    experiments, metrics
        Rows of these tables. Parameters of a run become parameters; digests, versions and the data's window tags; every figure
        a metric, with its interval as `… low` and `… high`; what is null is left out.

    Raises
    ------
    MissingExtraError
        When MLflow is not installed.
    InputError
        When the tracking URI cannot be used.
    """
    require_tracking()
    # MLflow reports its use to its makers unless told not to: nothing leaves the machine that was not asked for.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415 - takes seconds to import, and is an extra
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from mlflow.tracking import MlflowClient  # noqa: PLC0415

    new = 0
    try:
        client = MlflowClient(uri)
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        for row in experiments.iter_rows(named=True):
            if client.search_runs([experiment], f"tags.`audit_lab.run_id` = '{row['run_id']}' and tags.`audit_lab.evaluation_id` = "
                                                f"'{row['evaluation_id']}'"):
                continue
            own = metrics.filter(pl.col("evaluation_id") == row["evaluation_id"])
            tags = {f"audit_lab.{key}": str(row[key]) for key in (
                "run_id", "evaluation_id", "profile_digest", "data_digest", "data_start", "data_end", "first_stage", "seconds")}
            tags |= {f"audit_lab.{key}": str(own[key][0]) for key in ("code", "rules", "judge", "prompt", "split") if own.height}
            run = client.create_run(experiment, run_name=row["run_id"], tags={})
            started = run.info.start_time
            figures = [
                Metric(_FORBIDDEN.sub("_", label), value, started, 0)
                for scorer, unit, measure, period, *values in own.select(
                    "scorer", "unit", "measure", "period", "value", "low", "high").iter_rows() if period is None
                for label, value in zip((f"{scorer} {unit} {measure}{end}" for end in ("", " low", " high")), values, strict=True)
                if value is not None
            ]
            parameters = [Param(key, json.dumps(value).strip('"')) for key, value in json.loads(row["parameters"]).items()]
            for start in range(0, max(len(figures), 1), 900):  # a call takes at most a thousand metrics
                client.log_batch(run.info.run_id, metrics=figures[start : start + 900], params=parameters if not start else [],
                                 tags=[RunTag(key, value) for key, value in tags.items()] if not start else [])
            client.set_terminated(run.info.run_id)
            new += 1
    except MlflowException as error:
        said = str(error).splitlines()[0][:200]
        raise InputError(f"MLflow at '{uri}' refuses: {said}", "experiments.mlflow, e.g. sqlite:///mlflow.db") from None
    return new
