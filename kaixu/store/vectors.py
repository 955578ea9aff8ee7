"""pgvector's binary form of vectors: their number, then 32-bit floats, big-endian."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence

import asyncpg
from pgvector import Vector

#: pgvector's binary form (`vector_send` in its source): the number of dimensions, and a field that is not used.
HEADER = struct.Struct("!HH")

TYPE_SCHEMA = """
select n.nspname from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
 where t.typname = 'vector' and t.typtype = 'b'
"""


def packed(vector: Sequence[float]) -> bytes:
    """A vector in pgvector's form; its own `Vector` takes lists, and a list of a thousand floats is slow to make."""
    floats = array("f", vector)
    if sys.byteorder == "little":
        floats.byteswap()
    return HEADER.pack(len(floats), 0) + floats.tobytes()


async def prepare_vectors(connection: asyncpg.Connection) -> None:
    """`vector` columns carry what `packed` makes. A database without pgvector has no such columns."""
    schema = await connection.fetchval(TYPE_SCHEMA)
    if schema is not None:
        await connection.set_type_codec(
            "vector", schema=schema, encoder=bytes, decoder=Vector.from_binary, format="binary"
        )
