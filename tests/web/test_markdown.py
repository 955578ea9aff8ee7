"""Markdown on pages: nothing of it runs, links lead where pages are, tables scroll."""

from __future__ import annotations

from kaixu.web.markdown import Heading, render_markdown

TEXT = """\
# The `title`

Words with <script>alert(1)</script> and [a link](other.md#part), [elsewhere](https://example.com), [nowhere](../x.md).
[bad](javascript:alert(1)) ![picture](https://example.com/a.png)

## A head: with `code`

| left | right |
|---|---:|
| 1 | 2 |
"""


def link_of(href: str) -> str | None:
    """Links between texts."""
    if href.startswith("https://"):
        return href
    return f"/docs/{href.replace('.md', '')}" if not href.startswith("..") else None


def test_a_text_is_rendered_under_the_pages_policy() -> None:
    rendered = render_markdown(TEXT, link_of)
    assert (rendered.title, rendered.headings) == ("The title", (Heading("a-head-with-code", "A head: with code"),))
    html = rendered.html
    assert "<h1" not in html
    assert "<script" not in html
    assert "style=" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html
    assert '<a href="/docs/other#part">a link</a>' in html
    assert '<a href="https://example.com" target="_blank" rel="noopener noreferrer">elsewhere</a>' in html
    assert ", nowhere." in html
    assert '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>' in html
    assert '<td class="right">2</td>' in html
