from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_lab.archive.files import ByteCount, find_archives, read_lines
from audit_lab.errors import InputError


def all_lines(path: Path, batch: int = 1 << 20) -> tuple[list[tuple[int, int, bytes]], ByteCount]:
    count = ByteCount()
    found = [
        (int(position), int(number), text)
        for batch_lines in read_lines(path, batch, count)
        for position, number, text in zip(batch_lines.position, batch_lines.line, batch_lines.text, strict=True)
    ]
    return found, count


@settings(max_examples=150, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"").replace(b"\x00", b"0")), max_size=20),
    ends=st.booleans(), batch=st.integers(1, 64), zipped=st.booleans(),
)
def test_every_byte_is_counted_once_and_positions_point_at_the_text(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], ends: bool, batch: int, zipped: bool
) -> None:
    content = b"{" + b"\n".join(pieces) + (b"\n" if ends else b"")
    path = tmp_path_factory.mktemp("files") / "a.log"
    path.write_bytes(gzip.compress(content) if zipped else content)
    found, count = all_lines(path, batch)
    assert count.total == len(content)
    assert count.record + count.separator + count.blank == count.total
    assert count.separator == content.count(b"\n")
    raw = content.split(b"\n")
    for _, number, text in found:
        assert raw[number - 1].strip(b" \t\r\x00") == text
    assert [number for _, number, _ in found] == [n for n, line in enumerate(raw, 1) if line.strip(b" \t\r\x00")]
    for position, _, text in found:
        assert content[position:].split(b"\n", 1)[0].strip(b" \t\r\x00") == text


def test_two_gzip_members_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress(b"{1}\n") + gzip.compress(b"{2}\n"))
    assert [text for _, _, text in all_lines(path)[0]] == [b"{1}", b"{2}"]


def test_a_cut_gzip_gives_all_lines_before_the_cut(tmp_path: Path) -> None:
    import random

    rng = random.Random(1)
    content = b"".join(b'{"n": %d, "x": %d}\n' % (n, rng.getrandbits(60)) for n in range(20_000))
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress(content)[:-5000])
    found, count = all_lines(path)
    assert count.damage == "gzip ends early"
    assert 15_000 < len(found) < 20_000
    assert content.startswith(b"\n".join(text for _, _, text in found))


def test_a_byte_order_mark_is_blank_space(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"\xef\xbb\xbf{}\n")
    found, count = all_lines(path)
    assert found == [(3, 1, b"{}")]
    assert (count.blank, count.record, count.separator) == (3, 2, 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04....", "is a zip file"),
        (b"PAR1....", "is Parquet"),
        (bytes(range(256)) * 20, "is binary"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        all_lines(path)
    assert "\n" not in str(caught.value)
    assert "hint:" in str(caught.value)


def test_folders_and_globs_give_archives_in_the_order_of_rotation(tmp_path: Path) -> None:
    for name in ("audit.log", "audit-2026-01-01T00-00-00.000.log.gz", "README.md", "labels.jsonl", "policy.yaml"):
        (tmp_path / name).write_bytes(b"{}\n")
    assert [path.name for path in find_archives(tmp_path)] == ["audit-2026-01-01T00-00-00.000.log.gz", "audit.log"]
    assert [path.name for path in find_archives(f"{tmp_path}/*.log")] == ["audit.log"]


@pytest.mark.parametrize(("source", "says"), [("nowhere", "no file or folder"), ("*.nothing", "no file fits"), (".", "no audit archive in folder")])
def test_nothing_found_is_said(tmp_path: Path, source: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        find_archives(tmp_path / source)
