"""Ids are random and never given out twice, also not by a process and its fork."""

from __future__ import annotations

import os

from kaixu.ops.random_ids import AT_ONCE, RandomBytes, random_uuid


def test_ids_are_uuids_of_version_4_and_differ() -> None:
    ids = [random_uuid() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {(one.version, one.variant) for one in ids} == {(4, "specified in RFC 4122")}


def test_every_byte_is_given_out_once() -> None:
    random = RandomBytes()
    taken = [random.take(16) for _ in range(AT_ONCE // 16 * 3)]
    assert len(set(taken)) == len(taken)


def test_a_forked_process_has_bytes_of_its_own() -> None:
    random = RandomBytes()
    random.take(16)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, random.take(16))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        of_child = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    assert len(of_child) == 16
    assert of_child != random.take(16)
