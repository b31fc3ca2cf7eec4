from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from audit_lab.errors import InputError
from audit_lab.hashing import text_digest
from audit_lab.profile import SignalSettings
from audit_lab.signals import static as module
from audit_lab.signals.static import distil_static, embed_sessions, embed_static, learn_static, load_static, sample_texts, save_static

pytest.importorskip("sentence_transformers", reason="needs the extra 'embed'")

WORDS = [f"w{i}" for i in range(30)]
DRAW = np.random.default_rng(0)
MEANING = {word: DRAW.normal(size=16) for word in WORDS}
SETTINGS = SignalSettings(static_above=50, full_share=0.02, min_peers=5, neighbours=3)


def teacher(texts, model="teacher"):
    """A model whose vector is the mean of its words' vectors: a static student can learn it exactly."""
    made = np.array([np.mean([MEANING[word] for word in text.split()], axis=0) for text in texts])
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def texts(n: int, seed: int = 1) -> list[str]:
    draw = np.random.default_rng(seed)
    return list(dict.fromkeys(" ".join(draw.choice(WORDS, size=draw.integers(3, 9))) for _ in range(n)))


def sessions_of(summaries: list[str]) -> pl.DataFrame:
    start = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=i) for i in range(len(summaries))]
    return pl.DataFrame({
        "session_id": [f"s-{i}" for i in range(len(summaries))], "cluster": "c", "actor_kind": "human", "user": "ann", "start": start,
        "end": start, "summary": summaries, "summary_digest": [text_digest(text) for text in summaries],
    })


def test_a_student_comes_close_to_its_teacher_on_texts_it_never_saw():
    lesson, others = texts(600), texts(200, seed=2)
    student = distil_static(lesson, teacher(lesson), "teacher")
    near = (embed_static(others, student) * teacher(others)).sum(1)
    assert near.mean() > 0.96
    assert np.allclose(np.linalg.norm(embed_static(others, student), axis=1), 1, atol=1e-5)


def test_texts_without_a_known_word_have_no_vector_and_break_nothing():
    student = distil_static(texts(50), teacher(texts(50)), "teacher")
    made = embed_static(["nothing known here", texts(1)[0]], student)
    assert not made[0].any()
    assert made[1].any()
    assert embed_static([], student).shape == (0, 16)


def test_a_model_is_kept_as_plain_arrays_with_its_digest(tmp_path):
    student = distil_static(texts(80), teacher(texts(80)), "teacher")
    save_static(student, tmp_path / "m.npz")
    again = load_static(tmp_path / "m.npz", student.digest)
    assert (again.teacher, again.words) == (student.teacher, student.words)
    assert np.array_equal(again.vectors, student.vectors)
    with pytest.raises(InputError, match=r"has digest .*, not 000000000000…"):
        load_static(tmp_path / "m.npz", "0" * 64)
    (tmp_path / "m.npz").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="no static model in"):
        load_static(tmp_path / "m.npz")


def test_a_pickle_is_never_read(tmp_path):
    with (tmp_path / "evil.npz").open("wb") as handle:
        np.savez(handle, teacher=np.array(["t"], dtype=object), words=np.array(["w"]), vectors=np.zeros((1, 2)))
    with pytest.raises(InputError, match="no static model in"):
        load_static(tmp_path / "evil.npz")


def test_the_sample_covers_every_word_and_depends_on_nothing_but_the_texts():
    many = [*texts(300), "rare one"]
    drawn = sample_texts(many, 20)
    assert {word for text in drawn for word in text.split()} == {word for text in many for word in text.split()}
    assert 20 <= len(drawn) < 60
    assert drawn == sample_texts(many[::-1] + many[:5], 20)


def test_few_summaries_go_to_the_full_model_each_once():
    asked: list[str] = []

    def embed(batch, model):
        asked.extend(batch)
        return teacher(batch)

    sessions = sessions_of(texts(20) * 3)
    made = embed_sessions(sessions, SETTINGS, embed=embed)
    assert made.static is None
    assert sorted(asked) == sorted(set(sessions["summary"]))
    assert np.array_equal(made.vectors, teacher(sessions["summary"].to_list()))
    asked.clear()
    again = embed_sessions(sessions, SETTINGS, made.full, embed=embed)
    assert asked == []
    assert np.array_equal(again.vectors, made.vectors)


def test_many_summaries_are_embedded_by_the_student_and_the_furthest_by_the_teacher(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 100)
    asked: list[str] = []

    def embed(batch, model):
        asked.extend(batch)
        return teacher(batch)

    sessions = sessions_of(texts(400))
    made = embed_sessions(sessions, SETTINGS, embed=embed)
    assert made.static is not None
    assert len(asked) <= 100 + 30 + 8
    exact = teacher(sessions["summary"].to_list())
    by_teacher = np.isclose(made.vectors, exact, atol=1e-7).all(axis=1).sum()
    assert by_teacher == 8  # 2 % of the sessions, no more: the sample's own vectors stay out
    assert (made.vectors * exact).sum(1).mean() > 0.95


def test_what_was_known_before_saves_work_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 100)
    sessions = sessions_of(texts(300))
    fresh = embed_sessions(sessions, SETTINGS, embed=teacher)
    known = dict(zip(sessions["summary_digest"], teacher(sessions["summary"].to_list()), strict=True))

    def refuse(batch, model):
        raise AssertionError("asked again")

    again = embed_sessions(sessions, SETTINGS, known, embed=refuse)
    assert np.array_equal(again.vectors, fresh.vectors)
    assert again.static.digest == fresh.static.digest == learn_static(sessions[::-1], SETTINGS, known, refuse)[0].digest


def test_nothing_to_learn_from_is_one_line():
    with pytest.raises(InputError, match="no texts to distil"):
        distil_static([], np.zeros((0, 4), dtype=np.float32), "teacher")
