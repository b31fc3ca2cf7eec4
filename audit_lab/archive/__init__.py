"""Raw archives into events: read, mask, account for."""

from audit_lab.archive.blind import blind_spots, volume
from audit_lab.archive.files import find_archives
from audit_lab.archive.ingest import IngestResult, ingest_archives
from audit_lab.archive.ledger import make_ledger, require_balance
from audit_lab.archive.originals import read_original

__all__ = ["IngestResult", "blind_spots", "find_archives", "ingest_archives", "make_ledger", "read_original", "require_balance", "volume"]
