"""Secrets of known shapes in files: GitHub's push protection would refuse them, and nobody wants them published."""

from __future__ import annotations

import re
from typing import NamedTuple


class Shape(NamedTuple):
    """What a kind of secret looks like. `begins`: the bytes that are looked for first, which is fast."""

    kind: str
    begins: bytes
    pattern: re.Pattern[bytes]


def shape(kind: str, begins: str, rest: str) -> Shape:
    """A secret that begins with `begins`, not in the middle of a word."""
    pattern = rb"(?<![A-Za-z0-9_])" + re.escape(begins).encode() + rest.encode() + rb"(?![A-Za-z0-9])"
    return Shape(kind, begins.encode(), re.compile(pattern))


SHAPES = (
    shape("a GitHub token", "ghp_", "[A-Za-z0-9]{36}"),
    shape("a GitHub token", "gho_", "[A-Za-z0-9]{36}"),
    shape("a GitHub token", "ghu_", "[A-Za-z0-9]{36}"),
    shape("a GitHub token", "ghs_", "[A-Za-z0-9]{36}"),
    shape("a GitHub token", "ghr_", "[A-Za-z0-9]{36,76}"),
    shape("a GitHub token", "github_pat_", "[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    shape("a GitLab token", "glpat-", "[A-Za-z0-9_-]{20}"),
    shape("an AWS access key", "AKIA", "[A-Z2-7]{16}"),
    shape("an AWS access key", "ASIA", "[A-Z2-7]{16}"),
    shape("a Google API key", "AIza", "[A-Za-z0-9_-]{35}"),
    shape("an OpenAI key", "sk-proj-", "[A-Za-z0-9_-]{40,200}"),
    shape("an OpenAI key", "sk-", "[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}"),
    shape("an Anthropic key", "sk-ant-", "[A-Za-z0-9_-]{80,120}"),
    shape("a Stripe key", "sk_live_", "[A-Za-z0-9]{24,99}"),
    shape("a Stripe key", "rk_live_", "[A-Za-z0-9]{24,99}"),
    shape("a Slack token", "xoxb-", "[0-9]{10,13}-[0-9]{10,13}-[A-Za-z0-9]{24}"),
    shape("a Slack token", "xoxp-", "[0-9]{10,13}-[0-9]{10,13}-[0-9]{10,13}-[a-f0-9]{32}"),
    shape("a SendGrid key", "SG.", r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    shape("an npm token", "npm_", "[A-Za-z0-9]{36}"),
    shape("a PyPI token", "pypi-AgEIcHlwaS5vcmc", "[A-Za-z0-9_-]{50,200}"),
    shape("a Hugging Face token", "hf_", "[A-Za-z0-9]{34}"),
    shape("a Netlify token", "nfp_", "[A-Za-z0-9]{36}"),
    *(
        Shape("a private key", begins, re.compile(re.escape(begins) + rb"\s+[A-Za-z0-9+/=:\-]"))
        for begins in (
            f"-----BEGIN {name}PRIVATE KEY-----".encode() for name in ("", "RSA ", "EC ", "DSA ", "OPENSSH ")
        )
    ),
)


def secret_in(data: bytes) -> str | None:
    """The kind of the first secret in `data`; None: there is none of a known shape."""
    for one in SHAPES:
        if one.begins in data and one.pattern.search(data):
            return one.kind
    return None
