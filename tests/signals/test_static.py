import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import polars as pl
import pytest
import scipy.sparse

from audit_lab.errors import InputError
from audit_lab.hashing import text_digest
from audit_lab.profile import SignalSettings
from audit_lab.signals import bulk as module
from audit_lab.signals.bulk import embed_sessions, learn_static, sample_texts
from audit_lab.signals.circles import alike, peers_of, selves_of
from audit_lab.signals.distances import past_distance, stand_out
from audit_lab.signals.peers import conformal_p_values
from audit_lab.signals.static import _fit, _items, distil_static, embed_static, load_static, save_static

pytest.importorskip("sentence_transformers", reason="needs the extra 'embed'")

WORDS = [f"w{i}" for i in range(30)]
DRAW = np.random.default_rng(0)
MEANING = {word: DRAW.normal(size=16) for word in WORDS}
SETTINGS = SignalSettings(static_above=50, full_share=0.1, min_peers=5, neighbours=3)


@pytest.fixture(autouse=True)
def _few_are_the_furthest(monkeypatch):
    monkeypatch.setattr(module, "LEAST", 3)


def teacher(texts, model="teacher", precision="bfloat16"):
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


def test_a_student_learns_the_order_of_words_where_its_teacher_minds_it():
    def minds(texts):
        made = np.stack([teacher([text])[0] * (-1 if "w1 w2" in text else 1) for text in texts])
        return np.asarray(made, dtype=np.float32)

    lesson = [f"{one} w1 w2 {other}" if i % 2 else f"{one} w2 w1 {other}" for i, (one, other) in enumerate(product(WORDS, WORDS))]
    lesson = [text for text in lesson if text.count("w1") == text.count("w2") == 1]
    cosine = {
        pairs: (embed_static(lesson, distil_static(lesson, minds(lesson), "t", with_pairs=pairs)) * minds(lesson)).sum(1).mean()
        for pairs in (True, False)
    }
    assert cosine[True] > 0.95
    assert cosine[False] < 0.7


def test_fewer_texts_than_words_are_solved_by_the_other_form_of_the_same_regression():
    lesson = texts(40)
    student = distil_static(lesson, teacher(lesson), "teacher")
    assert len(student.vectors) > len(lesson)
    assert (embed_static(lesson, student) * teacher(lesson)).sum(1).mean() > 0.99
    # One text more or less does not make another model of it.
    shares = scipy.sparse.random(30, 30, 0.3, random_state=1, format="csr")
    wide, tall = (_fit(scipy.sparse.hstack([shares, scipy.sparse.csr_matrix((30, extra))]).tocsr(), teacher(lesson[:30]), 0.01)
                  for extra in (1, 0))
    assert np.allclose(wide[:30], tall, atol=1e-6)


def test_a_static_model_is_a_sentence_transformer():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    student = distil_static(texts(80), teacher(texts(80)), "teacher")
    encoder = student.encoder()
    assert isinstance(encoder, SentenceTransformer)
    assert isinstance(encoder[0], StaticEmbedding)
    some = texts(30, seed=3)
    assert np.array_equal(encoder.encode(some[::-1], batch_size=7)[::-1], embed_static(some, student))
    by_hand = [np.mean([student.vectors[row] for row in _items([text], student.words, student.pairs)[0]], axis=0) for text in some]
    assert np.allclose(embed_static(some, student), by_hand / np.linalg.norm(by_hand, axis=1, keepdims=True), atol=1e-5)


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
    assert np.array_equal(again.pairs, student.pairs)
    assert np.array_equal(again.vectors, student.vectors)
    assert replace(again, pairs=again.pairs[:, ::-1]).digest != student.digest
    with pytest.raises(InputError, match=r"has digest .*, not 000000000000…"):
        load_static(tmp_path / "m.npz", "0" * 64)
    whole = (tmp_path / "m.npz").read_bytes()
    for damaged in (b"rubbish", whole[:200], whole[:-200], b""):
        (tmp_path / "m.npz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"no static model in .* \(hint: delete it and run again: it is distilled anew\)"):
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

    def embed(batch, model, precision):
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

    def embed(batch, model, precision):
        asked.extend(batch)
        return teacher(batch)

    sessions = sessions_of(texts(400))
    made = embed_sessions(sessions, SETTINGS, embed=embed)
    assert made.static is not None
    exact = teacher(sessions["summary"].to_list())
    assert np.array_equal(made.vectors, embed_static(sessions["summary"].to_list(), made.static))
    assert (made.vectors * exact).sum(1).mean() > 0.9
    # A tenth of the sessions at most, for who has more past lies nearer to it; then the earlier ones nearest to them.
    assert 4 <= made.exact.asked.sum() <= 40
    held = made.exact.place >= 0
    assert held[made.exact.asked].all()
    assert held.sum() <= made.exact.asked.sum() * 2 + 3
    assert np.array_equal(made.exact.vectors[made.exact.place[held]], exact[held])
    assert len(asked) <= 100 + 30 + held.sum()


def test_the_furthest_sessions_are_compared_with_their_nearest_past_exactly_on_both_ends(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 100)
    sessions = sessions_of(texts(400))

    def distances(vectors, exact=None):
        return past_distance(vectors, selves_of(sessions), peers_of(sessions, 5), 3, exact).distance

    truth = distances(teacher(sessions["summary"].to_list()))
    quick = embed_sessions(sessions, SETTINGS.model_copy(update={"full_share": 0.0}), embed=teacher)
    both = embed_sessions(sessions, SETTINGS.model_copy(update={"full_share": 0.4}), embed=teacher)
    assert not quick.exact.asked.any()
    assert 20 < both.exact.asked.sum() < 160
    far = {name: np.abs(distances(made.vectors, made.exact) - truth) for name, made in (("quick", quick), ("both", both))}
    asked = both.exact.asked
    assert np.median(far["both"][asked]) <= 1e-5  # most of them to the last digit
    assert far["both"][asked].mean() < 0.7 * far["quick"][asked].mean()
    # Exact vectors stand beside the static ones: nobody else's distance moves.
    assert np.array_equal(far["both"][~asked], far["quick"][~asked], equal_nan=True)


def test_nobody_is_measured_against_a_session_that_still_ran(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 100)
    sessions = sessions_of(texts(400)).with_columns(end=pl.col("start") + pl.duration(minutes=45 * (pl.int_range(pl.len()) % 3)))
    made = embed_sessions(sessions, SETTINGS.model_copy(update={"full_share": 0.4}), embed=teacher)
    past = past_distance(made.vectors, selves_of(sessions), peers_of(sessions, 5), 3, made.exact)
    start, end = sessions["start"].to_list(), sessions["end"].to_list()
    assert made.exact.asked.sum() > 20
    assert all(end[other] < start[session] for session, others in enumerate(past.nearest) for other in others)


@pytest.mark.parametrize(("many", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_the_profile_says_in_which_arithmetic_the_full_model_works_and_few_summaries_are_always_exact(many, precision):
    asked = set()

    def embed(batch, model, precision):
        asked.add(precision)
        return teacher(batch)

    embed_sessions(sessions_of(texts(200)), SETTINGS.model_copy(update={"static_above": 50 if many else 500}), embed=embed)
    assert asked == {precision}
    asked.clear()
    embed_sessions(sessions_of(texts(200)), SETTINGS.model_copy(update={"full_precision": "float32"}), embed=embed)
    assert asked == {"float32"}


def test_what_was_known_before_saves_work_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 100)
    sessions = sessions_of(texts(300))
    fresh = embed_sessions(sessions, SETTINGS, embed=teacher)
    known = dict(zip(sessions["summary_digest"], teacher(sessions["summary"].to_list()), strict=True))

    def refuse(batch, model, precision):
        raise AssertionError("asked again")

    again = embed_sessions(sessions, SETTINGS, known, embed=refuse)
    assert np.array_equal(again.vectors, fresh.vectors)
    assert again.static.digest == fresh.static.digest == learn_static(sessions[::-1], SETTINGS, known, refuse)[0].digest


def test_nothing_to_learn_from_is_one_line():
    with pytest.raises(InputError, match="no texts to distil"):
        distil_static([], np.zeros((0, 4), dtype=np.float32), "teacher")


def places_of(made) -> dict:
    """What the far-summary of each session is measured with: its static vector, whether it is measured again, its exact vector."""
    exact = [made.exact.vectors[place].tobytes() if asked else b"" for asked, place in zip(made.exact.asked, made.exact.place, strict=True)]
    return [(row.tobytes(), bool(asked), vector) for row, asked, vector in zip(made.vectors, made.exact.asked, exact, strict=True)]


@pytest.mark.parametrize("kept", [True, False])
def test_later_sessions_change_no_vector_and_no_choice_of_earlier_ones(monkeypatch, kept):
    monkeypatch.setattr(module, "SAMPLE", 100)
    summaries = texts(400)
    # Words that the static model never learnt come late, and links that come of later sessions.
    summaries[300:] = [f"{text} w{30 + i % 7}" for i, text in enumerate(summaries[300:])]
    monkeypatch.setattr(f"{__name__}.MEANING", MEANING | {f"w{i}": np.random.default_rng(i).normal(size=16) for i in range(30, 37)})
    sessions = sessions_of(summaries)
    early = sessions.head(250)
    settings = SETTINGS.model_copy(update={"full_share": 0.4})
    before = embed_sessions(early, settings, embed=teacher)
    linked = sessions.with_columns(pl.when(pl.int_range(pl.len()) % 3 == 0).then(
        pl.col("summary") + " Linked to a later session: object taken.").otherwise("summary").alias("summary"))
    after = embed_sessions(linked[::-1], settings, static=before.static if kept else None, embed=teacher)
    assert after.static.digest == before.static.digest
    assert places_of(after)[::-1][:250] == places_of(before)
    assert before.exact.asked.sum() > 4
    unknown = after.exact.asked[::-1][300:]
    assert unknown.all(), "what the static model was not taught is measured by the full one"
    assert after.untaught == 0.25

    def distances(frame, made):
        return past_distance(made.vectors, selves_of(frame), peers_of(frame, 5), 3, made.exact).distance

    ordered = after._replace(vectors=after.vectors[::-1], exact=after.exact._replace(
        asked=after.exact.asked[::-1], place=after.exact.place[::-1]))
    assert np.array_equal(distances(sessions, ordered)[:250], distances(early, before), equal_nan=True)


@pytest.mark.parametrize("share", [0.025, 0.3])
def test_p_values_stay_valid_where_exact_and_static_distances_mix(share):
    """Exchangeable normals: the static distance is the exact one and noise, those that stand out get the exact one."""
    draw = np.random.default_rng(8)
    n, levels = 20_000, (0.01, 0.05, 0.1, 0.2)
    exact = draw.gamma(2.0, 0.02, n)
    static = exact * draw.lognormal(-0.2, 0.3, n)
    start = np.arange(n, dtype=np.int64)
    static = static.round(5)
    asked = stand_out(static, start, start, share, 0)
    assert abs(asked.mean() - share) < 0.01
    p_value = conformal_p_values(np.where(asked, exact, static), alike(["g"] * n, start, start), 20).p_value
    for level in levels:
        assert np.nanmean(p_value <= level) <= level + 3 * np.sqrt(level * (1 - level) / n), level


@pytest.mark.parametrize("least", [0, 7])
@pytest.mark.parametrize(("share", "span"), [(0.05, 2000), (0.3, 100)])
def test_who_stands_out_is_decided_among_those_that_had_ended_before(monkeypatch, least, share, span):
    """With a short span many begin where others end, and with few values many are as far: both must fall on the right side."""
    monkeypatch.setattr("audit_lab.signals.distances._BLOCK", 16)
    draw = np.random.default_rng(3)
    distance = draw.choice([np.nan, 0.0, 0.01, 0.5, *draw.random(span // 50)], 300).round(5)
    start = draw.integers(0, span, 300)
    end = start + draw.integers(0, span // 10, 300)
    made = stand_out(distance, start, end, share, least)
    for session in range(300):
        past = [distance[other] for other in range(300) if end[other] < start[session] and not np.isnan(distance[other])]
        rank = 1 + sum(value >= distance[session] for value in past)
        assert made[session] == (rank <= max(math.ceil(share * (1 + len(past)) - 1e-9), least) and not np.isnan(distance[session]))
    assert not stand_out(distance, start, end, 0.0, least).any()
