"""Raw archives into events: read, mask, account for."""

from audit_lab.archive.files import find_archives
from audit_lab.archive.ingest import IngestResult, ingest_archives
from audit_lab.archive.ledger import ledger, require_balance

__all__ = ["IngestResult", "find_archives", "ingest_archives", "ledger", "require_balance"]
