"""Masking while reading: no secret value reaches a table (law 4).

Bodies are never stored, so what is left are the strings that people and programs put secrets into by
mistake: URIs, user agents, command lines, webhook URLs, names. Patterns err on the side of masking.
"""

from __future__ import annotations

import re

import polars as pl

from audit_lab.hashing import text_digest

MASK = "***"
_WORD = (
    r"(?:pass(?:word|wd|phrase)|secret|token|api(?:[_-]|%2D|%5F)?key|access(?:[_-]|%2D|%5F)?key|private(?:[_-]|%2D|%5F)?key|authorization|bearer|credentials?|session[_-]?id|signature"
    r"|(?:\b|[_-])(?:pass|pwd|auth|key|sig|jwt|sid)\b)"
)

# (pattern, replacement) in Rust regex syntax (no look-around), applied in order.
PATTERNS: tuple[tuple[str, str], ...] = (
    # -----BEGIN … KEY----- blocks
    (r"-----BEGIN [A-Z ]+-----[^-]*(-----END [A-Z ]+-----)?", MASK),
    # JSON web tokens, also bare
    (r"eyJ[A-Za-z0-9_\-]{8,}(\.[A-Za-z0-9_\-]*){0,2}", MASK),
    # vendors' key shapes
    (r"\b(AKIA|ASIA)[A-Z0-9]{12,}\b", MASK),
    (r"\b(ghp|gho|ghs|ghr|github_pat|glpat|xox[abposr]|sk|pk|rk|hvs|s\.)[-_][A-Za-z0-9_\-]{10,}", MASK),
    (r"\bAIza[A-Za-z0-9_\-]{20,}", MASK),
    # user:password@host
    (r"(://[^/\s:@]{0,64}:)[^/\s@]+@", "${1}" + MASK + "@"),
    # Authorization: Bearer x, Basic x
    (r"(?i)\b(bearer|basic|digest|apikey)(\s+|%20|\+)[A-Za-z0-9._~+/=\-]{6,}", "${1} " + MASK),
    # key=value, key: value, --key value, "key":"value", also percent-encoded
    (r"(?i)([A-Za-z0-9_.\-]*" + _WORD + r"[A-Za-z0-9_.\-]*[\"']?\s*(?:=|:|%3D|%3A)\s*[\"']?)[^\s&\"',;)}\]]+", "${1}" + MASK),
    (r"(?i)(--?(?:[a-z0-9\-]*" + _WORD + r")(?:\s+|\+|%20))[^\s\-&+][^\s&+]*", "${1}" + MASK),
    # mysql -pSECRET, curl -u user:SECRET
    (r"(\bmysql(?:dump)?\b[^|;&]*?\s-p)[^\s]+", "${1}" + MASK),
    (r"(\b(?:sshpass|redis-cli|htpasswd|smbclient|ldapsearch)\b[^|;&]*?\s-[paw])\s*[^\s]+", "${1} " + MASK),
    (r"(\s-u(?:\s+|\+)[^\s:+]+:)[^\s+]+", "${1}" + MASK),
    # long unbroken runs look like keys; commit hashes of clients (7 to 40 hex digits) are shorter
    (r"\b[A-Za-z0-9+_]{44,}={0,2}", MASK),
)
_SHAPES = 5  # the first patterns know keys by their shape alone
_QUICK = r"(?i)pass|pwd|secret|token|key|auth|bearer|basic|digest|credential|session|sig|jwt|eyJ|BEGIN|AKIA|ASIA|gh[posr]_|glpat|xox|sk-|pk-|rk-|hvs|AIza|://[^/\s]*@|mysql|sshpass|redis-cli|htpasswd|smbclient|ldapsearch|-u|[A-Za-z0-9+_]{44,}"
# Names of these objects ARE the token.
TOKEN_NAMED_RESOURCES = ("oauthaccesstokens", "oauthauthorizetokens", "useroauthaccesstokens")


def policy_digest() -> str:
    """Return the digest of the masking policy: it stands in every archive's row."""
    return text_digest(repr((PATTERNS, _QUICK, TOKEN_NAMED_RESOURCES)))[:16]


def mask(values: pl.Expr) -> pl.Expr:
    """Return the string expression with every secret-looking part replaced by '***'.

    >>> pl.select(mask(pl.lit("/api?access_token=abc&limit=5"))).item()
    '/api?access_token=***&limit=5'
    """
    masked = values
    for pattern, replacement in PATTERNS:
        masked = masked.str.replace_all(pattern, replacement)
    # Most values hold nothing: one cheap test spares them the rest.
    return pl.when(values.str.contains(_QUICK)).then(masked).otherwise(values)


def mask_name(values: pl.Expr) -> pl.Expr:
    """Mask the name of a user or an object: only what has the shape of a key, for 'ns:external-secrets:app' is no assignment.

    >>> pl.select(mask_name(pl.lit("system:serviceaccount:external-secrets:app"))).item()
    'system:serviceaccount:external-secrets:app'
    """
    masked = values
    for pattern, replacement in (*PATTERNS[:_SHAPES], PATTERNS[-1]):
        masked = masked.str.replace_all(pattern, replacement)
    return masked


def mask_lists(values: pl.Expr) -> pl.Expr:
    """Return a list-of-strings expression with every element masked."""
    return values.list.eval(mask(pl.element()))


def mask_text(text: str) -> str:
    """Mask one string."""
    return str(pl.select(mask(pl.lit(text))).item())


def excerpt(record: bytes, limit: int = 160) -> str:
    """Return a masked beginning of a record that was not understood.

    Nothing is known of its structure, so every quoted value behind a colon and every word of ten or more
    characters that holds a digit goes, besides what `mask` takes out.

    >>> excerpt(b'{"data":{"password":"aHVudGVyMg=="')
    '{"data":{"password":"***"'
    """
    text = record[: limit * 4].decode("utf-8", "replace")
    text = re.sub(r'(:\s*)"(?:[^"\\]|\\.)*("|$)', r'\1"***"', text)
    text = re.sub(r"[^\s\"'{}\[\],:]{10,}", lambda match: MASK if re.search(r"\d", match.group()) else match.group(), text)
    text = mask_text("".join(character if character.isprintable() else "\ufffd" for character in text))
    return text[:limit]
