"""Events become sessions: who did what, from where, in one go, and what of it was new; and which sessions are one story."""

from audit_lab.sessions.build import SessionTables, build_sessions
from audit_lab.sessions.lineage import LINK_KINDS, link_sessions
from audit_lab.sessions.stories import build_stories, story_sizes
from audit_lab.sessions.summary import add_links, count_tokens, summarize
from audit_lab.sessions.wide import FEATURES, session_features
from audit_lab.sessions.windows import split_sessions

__all__ = [
    "FEATURES",
    "LINK_KINDS",
    "SessionTables",
    "add_links",
    "build_sessions",
    "build_stories",
    "count_tokens",
    "link_sessions",
    "session_features",
    "split_sessions",
    "story_sizes",
    "summarize",
]
