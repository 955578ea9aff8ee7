"""Redacts a vendor's text for the operator: one line, shortened, without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_WORDS = 500

#: Shorter values are not treated as secrets: removing them would only spoil the text.
LEAST_SECRET = 6

#: Keys of vendors and of this gateway, by their form. Some vendors quote keys with asterisks in the middle.
TOKENS = re.compile(
    r"""(?ix)
      \b(?: (?:bearer|basic)\s+ [a-z0-9._~+/=*-]{6,}
        | (?:sk|pk|rk|kx|gsk|xai|hf|fw|fk|pplx|nvapi|r8|key|csk|pa|tgp|whsec|ghp|gho|github_pat|glpat|xox[abp])
            [-_] [a-z0-9_*.-]{6,}
        | AIza [a-z0-9_*-]{10,}
        | ya29\.[a-z0-9_.-]{10,}
        | (?:AKIA|ASIA) [A-Z0-9]{12,}
        | eyJ [a-z0-9_-]{6,} (?: \.[a-z0-9_-]* ){0,2}
        | [a-f0-9]{32,}
      )
    """
)
NAMED = re.compile(
    r"""(?i)((?:api[-_ ]?key|access[-_ ]?token|token|secret|password|authorization|signature)["']?\s*[:=]\s*["']?)"""
    r"""[^\s"',;]{4,}"""
)
LONG = re.compile(r"(?<![A-Za-z0-9+/_=*-])(?=[A-Za-z+/_=*-]*[0-9])[A-Za-z0-9+/_=*-]{40,}")
EMAIL = re.compile(r"[^\s@<>\"']{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,10}://)(?:[^\s/@]{1,200}@)?([^\s?#\"'<>]{1,300})(?:[?#][^\s\"'<>]*)?")
#: Long quotations repeat the request.
QUOTED = re.compile(r"""(?<!\w)(["'`])(?:(?!\1).){61,}(?:\1|$)""")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\s]+")


def redacted(words: str, secrets: Iterable[str] = ()) -> str:
    """`words` on one line, without `secrets`, keys, addresses and long quotations, cut to `MOST_WORDS` characters."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= LEAST_SECRET:
            words = words.replace(secret, "…")
    words = UNPRINTABLE.sub(" ", words[: 8 * MOST_WORDS]).strip()
    words = URL.sub(r"\1\2", words)
    words = NAMED.sub(r"\1…", words)
    for pattern in (TOKENS, EMAIL, LONG):
        words = pattern.sub("…", words)
    words = QUOTED.sub(r"\1…\1", words)
    return words if len(words) <= MOST_WORDS else words[: MOST_WORDS - 1] + "…"
