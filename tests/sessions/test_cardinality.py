import numpy as np
import polars as pl
import pytest

from audit_lab.sessions.actors import team_of
from audit_lab.sessions.cardinality import DistinctSketch, agent_stem, hash_tokens, min_hash, uri_template, workload_stem


@pytest.mark.parametrize(("resource", "name", "stem"), [
    ("pods", "web-7c9d8f6b5d-x2k4q", "web"),                  # Deployment
    ("pods", "my-shop-api-589cc67b4-zwq8h", "my-shop-api"),
    ("pods", "kafka-12", "kafka"),                            # StatefulSet
    ("pods", "nightly-29384756-8x7mz", "nightly"),            # CronJob
    ("pods", "fluent-bit-q2x7c", "fluent-bit"),               # DaemonSet
    ("pods", "train-3-bx5zt", "train"),                       # indexed Job
    ("pods", "etcd-control-plane", "etcd-control-plane"),     # static pod: no suffix to undo
    ("pods", "web-login", "web-login"),                       # vowels: no generated part
    ("replicasets", "web-7c9d8f6b5d", "web"),
    ("jobs", "nightly-29384756", "nightly"),
    ("jobs", "migrate-v2", "migrate-v2"),
    ("deployments", "web-7c9d8f6b5d", "web-7c9d8f6b5d"),      # a Deployment's name is chosen, not generated
    ("events", "web-0.17a9c3f0b1d2e4f6", "web-0.<hash>"),
    ("configmaps", "cfg-0123456789abcdef01234567", "cfg-<hash>"),
])
def test_stems_of_workloads(resource, name, stem):
    frame = pl.DataFrame({"name": [name], "resource": [resource]})
    assert frame.select(workload_stem(pl.col("name"), pl.col("resource"))).item() == stem


@pytest.mark.parametrize(("uri", "template"), [
    ("/api/v1/namespaces/shop/secrets/db", "/api/v1/namespaces/{namespace}/secrets/{name}"),
    ("/api/v1/namespaces/shop", "/api/v1/namespaces/{name}"),
    ("/api/v1/nodes/n1/proxy/run/ns/p/c?cmd=id", "/api/v1/nodes/{name}/proxy/{path}?cmd"),
    ("/apis/example.org/v1/namespaces/shop/gadgets/x/spin", "/apis/example.org/v1/namespaces/{namespace}/{kind}/{name}/{subresource}"),
    ("/apis/apps/v1", "/apis/apps/v1"),
    ("/healthz?verbose&x%20y=1", "/healthz?verbose,xy"),
    ("/version", "/version"),
    ("/x/550e8400-e29b-41d4-a716-446655440000", "/x/<n>e<n>-e<n>b-<n>d<n>-a<n>-<n>"),
    (None, ""),
])
def test_templates_of_uris(uri, template):
    assert uri_template(uri) == template


@pytest.mark.parametrize(("agent", "stem"), [
    ("kubectl/v1.30.1 (linux/amd64) kubernetes/6911225", "kubectl/<version> kubernetes/<commit>"),
    ("kubectl/v1.31.0-rc.1 (darwin/arm64) kubernetes/abcdef0", "kubectl/<version> kubernetes/<commit>"),
    ("gitlab-runner 14.5.2 linux/amd64", "gitlab-runner/<version> linux/amd64"),
    ("Go-http-client/1.1", "Go-http-client/<version>"),
    ("curl/7.88.1", "curl/<version>"),
])
def test_stems_of_agents(agent, stem):
    assert pl.select(agent_stem(pl.lit(agent))).item() == stem


@pytest.mark.parametrize(("user", "groups", "team"), [
    ("ann", ["system:authenticated", "team-b", "developers"], "team-b"), ("ann", None, "none"), (None, None, "none"),
    ("root", ["system:masters"], "none"), ("system:serviceaccount:shop:app", ["system:serviceaccounts:shop"], "shop"),
])
def test_teams(user, groups, team):
    assert team_of(user, groups) == team


def test_a_sketch_counts_within_its_error_and_merges_like_the_whole():
    values = [f"v{i}" for i in range(20_000)]
    whole = DistinctSketch.of(values, k=512)
    parts = DistinctSketch.of(values[:12_000], k=512).merge(DistinctSketch.of(values[8_000:] * 2, k=512))
    assert np.array_equal(whole.smallest, parts.smallest)
    assert abs(whole.count() / 20_000 - 1) < 4 / 512**0.5
    assert DistinctSketch.of(["a", "b", "a"]).count() == 2
    assert DistinctSketch.of([]).count() == 0


def test_minhash_estimates_overlap():
    left, right = [f"a{i}" for i in range(60)], [f"a{i}" for i in range(30, 90)]
    first, second = min_hash([left, right], columns=512)
    assert abs((first == second).mean() - 30 / 90) < 0.1
    assert (min_hash([left]) == min_hash([left])).all()


def test_hashed_tokens_ignore_order_and_keep_their_columns():
    one, two, more = hash_tokens([["a", "b"], ["b", "a"], ["a", "b", "c"]])
    assert (one == two).all()
    assert (one != more).sum() == 1
