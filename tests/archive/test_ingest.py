from __future__ import annotations

import itertools
from pathlib import Path

import polars as pl
import pytest

from audit_lab.archive import find_archives, require_balance
from audit_lab.errors import InputError, LedgerError

from .conftest import Bench, lines, record

STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete")


def test_the_columns_of_a_plain_event(bench: Bench) -> None:
    event = bench.read(record()).row(0, named=True)
    assert event["actor"] == event["user"] == "ann@example.org"
    assert (event["actor_kind"], event["source_ip"], event["source_class"], event["client_family"]) == ("human", "10.0.0.9", "private", "kubectl")
    assert (event["verb"], event["api_group"], event["resource"], event["namespace"]) == ("list", "", "pods", "dev")
    assert (event["grant_binding"], event["grant_role"]) == ("RoleBinding/dev/team", "ClusterRole/view")
    assert event["time"].isoformat() == "2026-01-01T10:00:00.000001+00:00"
    assert event["latency_ms"] == 250.0
    assert event["has_body"] is False


def test_impersonation_is_part_of_the_actor(bench: Bench) -> None:
    event = bench.read(record(impersonatedUser={"username": "system:admin", "groups": ["system:masters"]})).row(0, named=True)
    assert event["actor"] == "ann@example.org as system:admin"
    assert event["impersonated_groups"] == ["system:masters"]


def test_failed_authentication_is_kept(bench: Bench) -> None:
    event = bench.read(record(user={}, stage="ResponseStarted", responseStatus={"code": 401})).row(0, named=True)
    assert (event["user"], event["actor"], event["actor_kind"], event["status"]) == (None, "", "unauthenticated", 401)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00+00:00"),
        ("2026-01-01T10:00:00.123456789Z", "2026-01-01T10:00:00.123456+00:00"),
        ("2026-01-01T10:00:00.1234567Z", "2026-01-01T10:00:00.123456+00:00"),
        ("2026-01-01T06:00:00-04:00", "2026-01-01T10:00:00+00:00"),
    ],
)
def test_times_are_utc_microseconds(bench: Bench, given: str, meant: str) -> None:
    assert bench.read(record(requestReceivedTimestamp=given)).row(0, named=True)["time"].isoformat() == meant


def test_v1beta1_has_its_time_elsewhere(bench: Bench) -> None:
    old = record(apiVersion="audit.k8s.io/v1beta1", requestReceivedTimestamp=None, stageTimestamp=None,
                 timestamp="2017-09-01T08:00:00Z", metadata={"creationTimestamp": None})
    assert bench.read(old)["time"][0].year == 2017
    assert bench.store.read("archives")["shape"][0] == "audit.k8s.io/v1beta1 lines"


def test_stages_merge_to_the_most_complete_in_any_order_and_any_file(tmp_path: Path) -> None:
    """Every order of reading three files gives the same tables and the same ledger."""
    files = {
        "a.log": lines(record(stage="RequestReceived", responseStatus=None), record("id-2"), record("id-3")),
        "b.log": lines(record(stage="ResponseStarted"), record("id-2"), record("id-4", stage="ResponseStarted")),
        "c.log": lines(record(), record("id-4", stage="RequestReceived"), record("id-2")),
    }
    seen = set()
    for number, order in enumerate(itertools.permutations(files)):
        folder = tmp_path / str(number)
        folder.mkdir()
        bench = Bench(folder)
        for name in order:
            bench.ingest(bench.write(name, files[name]))
        account = bench.ledger()
        require_balance(account)
        events = bench.store.read("events").sort("event_id")
        assert events["stage"].to_list() == ["ResponseComplete", "ResponseComplete", "ResponseComplete", "ResponseStarted"]
        assert events["n_stages"].to_list() == [3, 3, 1, 2]
        assert account["n_duplicates"].sum() == 2
        assert account["n_superseded"].sum() == 3
        seen.add((bench.store.digest("events"), bench.store.digest("archives"), bench.store.digest("stages")))
    assert len(seen) == 1


def test_reading_again_changes_nothing_and_gzip_is_the_same_archive(bench: Bench) -> None:
    content = lines(record(), record("id-2"))
    bench.ingest(bench.write("audit.log", content))
    before = bench.store.manifest()
    assert bench.ingest(bench.write("audit.log.gz", content)).known
    assert bench.store.manifest() == before


def test_a_file_that_grew_adds_only_what_is_new(bench: Bench) -> None:
    bench.ingest(bench.write("audit.log", lines(record(), record("id-2"))))
    bench.ingest(bench.write("audit.log", lines(record(), record("id-2"), record("id-3"))))
    assert bench.store.read("events").height == 3
    account = bench.ledger()
    require_balance(account)
    assert account["n_duplicates"].sum() == 2


def test_two_clusters_may_share_audit_ids(bench: Bench) -> None:
    path = bench.write("audit.log", lines(record()))
    bench.ingest(path, cluster="east")
    bench.ingest(path, cluster="west")
    assert sorted(bench.store.read("events")["cluster"].to_list()) == ["east", "west"]
    require_balance(bench.ledger())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"I0109 21:24:54.000 klog text, no JSON", "not JSON"),
        (b'{"kind": 0}', "no audit event"),
        (b'{"kind":"Event"}', "no audit event: verb or request is missing"),
        (b'{"kind":"EventList","items":[]}', "an EventList"),
        (b"[1,2]", "JSON, but no object"),
        (b'{"kind":"Pod","verb":"get","auditID":"x"}', "no audit event: kind is another"),
        (b'{"kind":"Event","apiVersion":"v1","verb":"get","auditID":"x"}', "no audit event: apiVersion is another"),
        (b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"get","auditID":"x"}', "no audit event: no time"),
        (b'{"kind":"Event","auditID":"\xff\xfe', "not JSON"),
    ],
)
def test_what_is_not_understood_goes_to_quarantine_with_its_place(bench: Bench, bad: bytes, reason: str) -> None:
    first = lines(record())
    bench.ingest(bench.write("audit.log", first + bad + b"\n" + lines(record("id-2"))))
    row = bench.store.read("quarantine").row(0, named=True)
    assert row["reason"].startswith(reason)
    assert (row["line"], row["position"], row["n_bytes"]) == (2, len(first), len(bad))
    assert bench.store.read("events").height == 2
    require_balance(bench.ledger())


def test_a_record_cut_at_the_end_is_said_to_be_cut(bench: Bench) -> None:
    bench.ingest(bench.write("audit.log", lines(record()) + b'{"kind":"Event","auditID":"x","requestObject":{"data":{"pass":"hunter2'))
    row = bench.store.read("quarantine").row(0, named=True)
    assert row["reason"] == "not JSON: the record is cut off at the end of the file"
    assert "hunter2" not in row["excerpt"]


def test_unknown_keys_are_counted_and_known_ones_are_not(bench: Bench) -> None:
    bench.read(record(brandNew={"a": 1}), record("id-2", brandNew=2))
    assert bench.store.read("archives")["unknown_keys"][0].to_list() == [{"key": "brandNew", "n": 2}]


def test_events_without_audit_id_get_a_hash_of_their_content(bench: Bench) -> None:
    events = bench.read(record(auditID=None), record(auditID=None), record(auditID=None, verb="get"))
    assert events.height == 2
    assert all(event_id.startswith("x-") for event_id in events["event_id"])


def test_one_bad_file_does_not_stop_the_others(bench: Bench) -> None:
    folder = bench.folder / "archives"
    folder.mkdir()
    (folder / "a.log").write_bytes(lines(record()))
    (folder / "b.log").write_bytes(b"")
    result = bench.ingest(folder)
    assert (len(result.read), len(result.refused)) == (1, 1)
    assert "is empty" in str(result.refused[0])


def test_a_folder_with_only_bad_files_is_an_error(bench: Bench) -> None:
    with pytest.raises(InputError, match="is empty"):
        bench.ingest(bench.write("audit.log", b""))


def test_the_ledger_notices_a_lost_event(bench: Bench) -> None:
    bench.read(record(), record("id-2"))
    bench.store.replace("events", bench.store.read("events").head(1))
    with pytest.raises(LedgerError, match="1 of 1 archives do not balance"):
        require_balance(bench.ledger())


def test_many_small_batches_give_the_same_events(bench: Bench, sample: Path) -> None:
    from audit_lab.archive.reader import Reading, read_archive
    from audit_lab.profile_files import load_profile

    path = find_archives(sample)[0]
    settings = load_profile("sample", {}).archive
    large = pl.concat(list(read_archive(path, settings, "c", Reading())))
    small = pl.concat(list(read_archive(path, settings.model_copy(update={"batch_mib": 2}), "c", Reading())))
    assert large.equals(small)
