"""What can go wrong, as one tree.

    AuditLabError                 the base: one line that says what is wrong, where, and a hint
    ├── InputError                a path, file, argument or table that cannot be used      (exit 2)
    │   └── ProfileError          a setting that does not exist or has a bad value        (exit 2)
    ├── MissingExtraError         a stage needs an optional install                        (exit 2)
    ├── LabError                  the lab folder is damaged, or another run is writing    (exit 2)
    ├── LedgerError               an account of law 3 does not balance                    (exit 1)
    ├── ContractError             a frame does not fit `tables.py`                        (exit 2)
    └── JudgeError                a model endpoint is unreachable or answers nonsense     (exit 2)

Usual pattern::

    try:
        lab.ingest("archives/")
    except AuditLabError as error:
        print(error)             # "no audit archive in 'archives/' (hint: …)"
"""

from __future__ import annotations


class AuditLabError(Exception):
    """Base of every error that Audit Lab raises on purpose.

    Parameters
    ----------
    what
        What is wrong and where, in one line.
    hint
        What to do about it; shown in brackets after the fact.
    """

    exit_code = 2

    def __init__(self, what: str, hint: str = "") -> None:
        self.what = " ".join(what.split())
        self.hint = " ".join(hint.split())
        super().__init__(f"{self.what} (hint: {self.hint})" if hint else self.what)


class InputError(AuditLabError):
    """A path, file, argument or table cannot be used as given."""


class ProfileError(InputError):
    """A setting does not exist or has a value out of range."""


class MissingExtraError(AuditLabError):
    """A stage needs a package of an optional extra.

    >>> str(MissingExtraError.for_extra("embeddings", "embed"))
    "embeddings need the extra 'embed' (hint: pip install 'audit-lab[embed]')"
    """

    @classmethod
    def for_extra(cls, stage: str, extra: str) -> MissingExtraError:
        """Build the usual sentence from the stage's name and the extra's name."""
        return cls(f"{stage} need the extra '{extra}'", hint=f"pip install 'audit-lab[{extra}]'")


class LabError(AuditLabError):
    """The lab folder is damaged, is not a lab, or another run is writing to it."""


class LedgerError(AuditLabError):
    """The account of what was read does not balance."""

    exit_code = 1


class ContractError(AuditLabError):
    """A frame does not fit the table contract."""


class JudgeError(AuditLabError):
    """A model endpoint cannot be reached, refuses, or answers something else than a verdict."""
