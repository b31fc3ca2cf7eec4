"""pySigma's check of regular expressions, without the engine's own lines on standard error: the reason comes as an error anyway."""

from __future__ import annotations

from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import PythonRegexEngine, RE2RegexEngine, RegexPattern


class _QuietRE2(RE2RegexEngine):
    def compile(self, pattern: str, flags: int = 0) -> RegexPattern:
        """Compile as the engine does, after asking RE2 itself, with its log off, whether it can."""
        options = self._re2.Options()
        options.log_errors = False
        self._re2.compile(pattern, options)
        return super().compile(pattern, flags)


def _policy() -> SigmaPolicy:
    try:
        return SigmaPolicy(regex_engine=_QuietRE2())
    except ImportError:
        # Without RE2 for Python the pattern is still checked by DuckDB, whose RE2 has the last word.
        return SigmaPolicy(regex_engine=PythonRegexEngine())


QUIET = _policy()
