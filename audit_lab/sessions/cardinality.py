"""High-cardinality strings reduced: names to stems, addresses of the API to templates, agents to programs, sets to sketches.

What detection compares must recur: `web-7c9d8f6b5d-x2k4q` never does, `web` does. Stems stay raw text (an attacker may choose
them), so they serve counting only and are never shown to a judge.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from audit_lab.kubernetes import RESOURCES, SUBRESOURCES

# Letters and digits of generated names (Kubernetes, apimachinery/pkg/util/rand: no vowels, no 0, 1, 3, so that no words arise).
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
# What controllers append to the name of the workload that a pod belongs to; the first that fits is taken off.
_POD_SUFFIXES = (
    rf"-{_SAFE}{{6,10}}-{_SAFE}{{5}}$",            # Deployment: hash of the template, then a random part
    rf"-\d{{8,10}}-{_SAFE}{{5}}$",                 # CronJob: minutes (or seconds) since 1970, then the pod of its Job
    rf"-\d{{1,4}}-{_SAFE}{{5}}$",                  # indexed Job: completion index, then a random part
    rf"-{_SAFE}{{5}}$",                            # DaemonSet, Job, ReplicaSet: a random part
    r"-\d{8,10}$",                                 # Job of a CronJob
    r"-\d{1,4}$",                                  # StatefulSet: ordinal
)
_SET_SUFFIX = rf"-{_SAFE}{{6,10}}$"
_HASHES = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
    (r"\.[0-9a-f]{16}$", ".<hash>"),               # events: name of the object, then a time in hex
    (r"[0-9a-f]{20,}", "<hash>"),
)
_AGENT_NOISE = (
    (r"\s*\([^)]*\)", ""),                         # platform
    (r"[/ ]v?\d+(\.\d+)+([.\-+][0-9A-Za-z.\-]+)?", "/<version>"),
    (r"/[0-9a-f]{7,40}\b", "/<commit>"),
)
_KINDS = frozenset(name for kinds in RESOURCES.values() for name in kinds)


def workload_stem(name: pl.Expr, resource: pl.Expr) -> pl.Expr:
    """Return the name of the workload behind an object name: suffixes of ReplicaSet, Job, CronJob, StatefulSet, DaemonSet undone.

    >>> frame = pl.DataFrame({"name": ["web-7c9d8f6b5d-x2k4q", "db-0", "backup-27801234-zz4rk", "web-7c9d8f6b5d", "shop-config"],
    ...                       "resource": ["pods", "pods", "pods", "replicasets", "configmaps"]})
    >>> frame.select(workload_stem(pl.col("name"), pl.col("resource")).alias("stem"))["stem"].to_list()
    ['web', 'db', 'backup', 'web', 'shop-config']
    """
    pod = name
    matched = pl.lit(False)
    for pattern in _POD_SUFFIXES:
        hit = ~matched & name.str.contains(pattern)
        pod = pl.when(hit).then(name.str.replace(pattern, "")).otherwise(pod)
        matched = matched | hit
    other = name
    for pattern, replacement in _HASHES:
        other = other.str.replace_all(pattern, replacement)
    return (
        pl.when(resource == "pods").then(pod)
        .when(resource == "replicasets").then(name.str.replace(_SET_SUFFIX, ""))
        .when(resource == "jobs").then(name.str.replace(r"-\d{8,10}$", ""))
        .otherwise(other)
    )


def uri_template(uri: str | None) -> str:
    """Return a request URI with namespaces, names and query values taken out.

    >>> uri_template("/api/v1/namespaces/shop/pods/web-0/log?container=app&follow=true")
    '/api/v1/namespaces/{namespace}/pods/{name}/log?container,follow'
    >>> uri_template("/apis/apps/v1/deployments?limit=500")
    '/apis/apps/v1/deployments?limit'
    """
    path, _, query = (uri or "").partition("?")
    steps = path.split("/")[1:]
    if steps[:1] == ["api"]:
        head, rest = steps[:2], steps[2:]
    elif steps[:1] == ["apis"]:
        head, rest = steps[:3], steps[3:]
    else:
        return _plain_path(path) + _query_keys(query)
    found = list(head)
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        found += ["namespaces", "{namespace}"]
        rest = rest[2:]
    if rest:
        found.append(rest[0] if rest[0] in _KINDS else "{kind}")
    if len(rest) > 1:
        found.append("{name}")
    if len(rest) > 2:
        found.append(rest[2] if rest[2] in SUBRESOURCES else "{subresource}")
    if len(rest) > 3:
        found.append("{path}")
    return "/" + "/".join(found) + _query_keys(query)


def agent_stem(agent: pl.Expr) -> pl.Expr:
    """Return a user agent without versions, platforms and commits: the program, whatever its release.

    >>> pl.select(agent_stem(pl.lit("kubectl/v1.30.1 (linux/amd64) kubernetes/6911225"))).item()
    'kubectl/<version> kubernetes/<commit>'
    """
    for pattern, replacement in _AGENT_NOISE:
        agent = agent.str.replace_all(pattern, replacement)
    return agent.str.strip_chars()


def _plain_path(path: str) -> str:
    for pattern, replacement in ((r"\d+", "<n>"), *_HASHES):
        path = re.sub(pattern, replacement, path)
    return path[:80]


def _query_keys(query: str) -> str:
    keys = sorted({re.sub(r"[^A-Za-z]", "", part.partition("=")[0])[:30] for part in query.split("&") if part})
    return "?" + ",".join(keys) if keys else ""


class DistinctSketch:
    """How many different values there are, from the k smallest of their hashes; merges without loss.

    Bar-Yossef et al., "Counting distinct elements in a data stream", RANDOM 2002. The relative standard error is
    about 1 / sqrt(k - 2); below k values the count is exact.

    >>> left, right = DistinctSketch.of(map(str, range(600))), DistinctSketch.of(map(str, range(300, 900)))
    >>> left.merge(right).count(), 750 < DistinctSketch.of(map(str, range(900)), k=256).count() < 1050
    (900, True)
    """

    def __init__(self, smallest: npt.NDArray[np.uint64], k: int = 1024) -> None:
        self.k = k
        self.smallest = np.unique(smallest)[:k]

    @classmethod
    def of(cls, values: Iterable[str], k: int = 1024) -> DistinctSketch:
        """Return the sketch of some values."""
        return cls(np.fromiter((_hash(value) for value in values), dtype=np.uint64), k)

    def merge(self, other: DistinctSketch) -> DistinctSketch:
        """Return the sketch of both sets together, as fine as the coarser one."""
        return DistinctSketch(np.concatenate([self.smallest, other.smallest]), min(self.k, other.k))

    def count(self) -> int:
        """Return how many different values there are."""
        if len(self.smallest) < self.k:
            return len(self.smallest)
        return round((self.k - 1) / ((float(self.smallest[-1]) + 1) / 2.0**64))


def hash_tokens(texts: Sequence[Sequence[str]], columns: int = 256) -> npt.NDArray[np.float64]:
    """Return one row per list of tokens, hashed to a fixed number of columns (signed, so that collisions cancel).

    The hashing trick: Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009. It needs no
    fitted vocabulary, so new namespaces and clients change no column of old rows.

    >>> hash_tokens([["a", "b"], ["b", "a"], []]).shape
    (3, 256)
    """
    from sklearn.feature_extraction import FeatureHasher  # noqa: PLC0415 - scikit-learn takes a second to import

    hasher = FeatureHasher(n_features=columns, input_type="string", alternate_sign=True)
    return np.asarray(hasher.transform([list(tokens) for tokens in texts]).toarray(), dtype=np.float64)


def min_hash(texts: Sequence[Sequence[str]], columns: int = 64, seed: int = 7) -> npt.NDArray[np.float64]:
    """Return MinHash signatures: the share of equal columns of two rows estimates the overlap of their sets.

    Broder, "On the resemblance and containment of documents", SEQUENCES 1997. An empty list is all ones.

    >>> first, same, other = min_hash([["a", "b"], ["b", "a"], ["c"]])
    >>> bool((first == same).all()), bool((first == other).any())
    (True, False)
    """
    random = np.random.default_rng(seed)
    factors = random.integers(1, 2**63, size=columns, dtype=np.uint64) | np.uint64(1)
    shifts = random.integers(0, 2**63, size=columns, dtype=np.uint64)
    rows = np.ones((len(texts), columns))
    for place, tokens in enumerate(texts):
        if tokens:
            hashes = np.fromiter((_hash(token) for token in set(tokens)), dtype=np.uint64)
            mixed = hashes[:, None] * factors + shifts  # modulo 2**64 by overflow
            rows[place] = (mixed ^ (mixed >> np.uint64(29))).min(axis=0) / 2.0**64
    return rows


def _hash(value: str) -> int:
    return int.from_bytes(hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
