"""Events become sessions: who did what, from where, in one go, and what of it was new."""

from audit_lab.sessions.build import SessionTables, build_sessions
from audit_lab.sessions.summary import count_tokens, summarize
from audit_lab.sessions.wide import FEATURES, session_features
from audit_lab.sessions.windows import split_sessions

__all__ = ["FEATURES", "SessionTables", "build_sessions", "count_tokens", "session_features", "split_sessions", "summarize"]
