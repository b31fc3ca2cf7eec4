from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from audit_lab.errors import ProfileError
from audit_lab.profile_files import load_profile


def test_a_file_starts_from_a_template_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "sample"\n[sessions]\nmax_length_s = 900\n[signals]\nbudget_cases = 5\n')
    profile = load_profile(file, {"AUDIT_LAB_SIGNALS__BUDGET_CASES": "9", "AUDIT_LAB_HOME": "x"})
    assert (profile.name, profile.sessions.gap_s, profile.sessions.max_length_s, profile.signals.budget_cases) == ("mine", 60, 900, 9)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[sessions]\ngap_sec = 1\n", "unknown key 'sessions.gap_sec' (hint: did you mean 'sessions.gap_s'?"),
        ("[session]\ngap_s = 1\n", "unknown key 'session' (hint: did you mean 'sessions'?"),
        ("[sessions]\ngap_s = -1\n", "'sessions.gap_s'"),
        ("[sessions]\ngap_s = 'soon'\n", "'sessions.gap_s'"),
        ("not toml", "is not TOML"),
        ("base = 'none'\n", "no base 'none'"),
    ],
)
def test_a_wrong_profile_is_told_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_profile(file, {})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_profile_names_the_known_ones() -> None:
    with pytest.raises(ProfileError, match="no profile 'nope' .*default, sample"):
        load_profile("nope", {})


def test_the_digest_changes_with_any_setting() -> None:
    assert load_profile("default", {}).digest != load_profile("default", {"AUDIT_LAB_EVALUATE__THRESHOLD": "0.6"}).digest
    assert load_profile("default", {}).digest == load_profile("default", {}).digest


def test_a_password_for_mlflow_is_refused_before_anything_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[experiments]\nmlflow = "postgresql://kim:hunter2@db.internal/mlflow"\n')
    with pytest.raises(ProfileError, match="experiments.mlflow.*MLFLOW_TRACKING_PASSWORD") as caught:
        load_profile(path)
    assert "hunter2" not in str(caught.value)
    path.write_text('[experiments]\nmlflow = "postgresql://kim@db.internal/mlflow"\n')
    assert load_profile(path).experiments.mlflow == "postgresql://kim@db.internal/mlflow"


PUBLIC, OWN = 'base_url = "https://api.example.com/v1"\nmodel = "m"\n', 'base_url = "http://llm.internal/v1"\nmodel = "m"\n'


@pytest.mark.parametrize(("text", "where"), [
    (f"[judge]\n{PUBLIC}", "judge.role"), (f'[judge]\njudge = "openai"\n{PUBLIC}', "judge.role"),
    (f"[judge]\n{OWN}[judge.challenger]\n{PUBLIC}", "judge.challenger.role"),
    ('[judge]\nbase_url = "http://134744072/v1"\n', "judge.role"), ('[judge]\nbase_url = "http://localhost@api.example.com/v1"\n', "judge.role"),
])
def test_an_endpoint_with_a_public_name_must_say_where_it_stands(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=f"'{where}': nothing says where .* stands.*role = \"cloud\"") as caught:
        load_profile(path, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [
    f'[judge]\nrole = "cloud"\n{PUBLIC}', f'[judge]\nrole = "onprem"\n{PUBLIC}', f"[judge]\n{OWN}", f'[judge]\ngguf = "m.gguf"\n{PUBLIC}',
    f"[judge]\n{OWN}[judge.cloud]\n{PUBLIC}[judge.large]\n{PUBLIC}", '[judge]\nbase_url = "http://[::1]:8000/v1"\n',
])
def test_an_endpoint_of_the_house_or_with_a_role_is_fine(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert load_profile(path, {}).judge.model_dump()["base_url"]


def test_the_environment_cannot_move_an_endpoint_out_of_the_house_unsaid() -> None:
    with pytest.raises(ProfileError, match="judge.role"):
        load_profile("default", {"AUDIT_LAB_JUDGE__BASE_URL": "https://api.example.com/v1"})


def test_neither_can_settings_that_are_changed_later(tmp_path: Path) -> None:
    from audit_lab import Lab
    from audit_lab.errors import InputError

    with pytest.raises(InputError, match="'role': nothing says where"):
        Lab(tmp_path / "lab", load_profile("default", {})).with_judge(base_url="https://api.example.com/v1")


def test_numbers_that_decide_are_settings() -> None:
    """Each of these stood in a module once: another value changes what is decided."""
    from audit_lab.evaluate.confusion import MALICIOUS
    from audit_lab.evaluate.intervals import bootstrap_actors
    from audit_lab.evaluate.per_rule import rule_figures
    from audit_lab.judge.probes import _why
    from audit_lab.signals.choice import _explore

    before = {"model": "m", "score": 0.35}
    assert _why(0.5, "m", before, 0.1) == "the score moved by 0.15"
    assert _why(0.5, "m", before, 0.2) is None
    rest = pl.DataFrame({"fused": [0.05] * 8 + [0.2] * 2})
    assert set(_explore(rest, 2, [1], [0.1])["fused"]) == {0.05, 0.2}
    assert set(_explore(rest, 2, [1], [0.9])["sampling_probability"]) == {0.2}
    sessions = pl.DataFrame({"session_id": list("abcd")})
    signals = sessions.select("session_id", kind=pl.lit("rule"), detector_id=pl.lit("r"), detector_version=pl.lit("1"))
    classes = np.full(4, MALICIOUS)
    precision = [rule_figures(sessions, signals, classes, bootstrap_actors(np.array(list("abcd"))), least)[0].precision for least in (4, 5)]
    assert (precision[0].value, precision[1].value, precision[1].reason) == (1.0, None, "4 sessions with a hit, 5 needed")
