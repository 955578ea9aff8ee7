"""The rules for paths and digests."""

from __future__ import annotations

import pytest
from kaixu_push.paths import manifest_of, path_of, sha1_of, site_of, whole_number

from kaixu.plugin import Failure


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("index.html", "/index.html"),
        ("  /a//b.css ", "/a/b.css"),
        ("a\\b\\c", "/a/b/c"),
        ("///", "/"),
        ("", "/"),
        ("/.well-known/x", "/.well-known/x"),
        ("/A%2Fb", "/A%2Fb"),
        ("/ü/日本.html", "/ü/日本.html"),
        ("/" + "a" * 1023, "/" + "a" * 1023),
    ],
)
def test_paths_are_written_in_one_way(raw: str, path: str) -> None:
    assert path_of(raw) == path
    assert path_of(path) == path


@pytest.mark.parametrize(
    "raw",
    ["/a#b", "/a?b", "/a\x00b", "/a\nb", "/a\x7f", "/a/", "/./a", "/a/..", "..", "/a<b", "/a>b", "/a:b", '/a"b', "/a|b",
     "/a*b", "/" + "a" * 1024, "/" + "\U0001f600" * 512, "/\ud800", 7, None],
    ids=range(20),
)  # fmt: skip
def test_other_paths_are_refused(raw: object) -> None:
    with pytest.raises(Failure) as refused:
        path_of(raw)
    assert (refused.value.status, refused.value.code) == (400, "BAD_PATH")


def test_digests_sites_and_numbers() -> None:
    assert sha1_of(f" {'AB' * 20} ") == "ab" * 20
    assert [sha1_of(raw) for raw in ("", "g" * 40, "a" * 39, None, 7)] == [None] * 5
    assert site_of(" my-site.netlify.app ") == "my-site.netlify.app"
    assert [site_of(raw) for raw in ("..", "../user", "a/b", "", "a b", None, "a" * 254)] == [None] * 7
    assert [whole_number(raw) for raw in ("7", 7, " 0 ")] == [7, 7, 0]
    assert [whole_number(raw) for raw in ("-1", "1.5", "x", True, None, 1.5, "9" * 10)] == [None] * 7


def test_two_paths_of_one_content_are_one_file() -> None:
    same = {"/a": "a" * 40, "a": "A" * 40, "/b": "a" * 40}
    assert manifest_of(same, 3) == {"/a": "a" * 40, "/b": "a" * 40}
