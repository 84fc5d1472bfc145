"""Small sessions played as if they were large: some sites are off the committee, and some are no neighbours.

The product reaches both only above 50 and 200 sites. A schedule that is `large` puts a table of its own in the place of
the floors, the same for every party; vectors of more than one chunk come from smaller chunks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from hansa.crypto import prg
from hansa.protocols import key_setup
from hansa.protocols.thresholds import Floors

ROWS = {  # by sites; below five everybody is everybody's neighbour, and on the committee
    5: Floors(1, 3, 4, 4, 4, 3),
    6: Floors(1, 3, 4, 4, 4, 3),
    7: Floors(2, 4, 5, 5, 4, 3),
    8: Floors(2, 4, 5, 5, 4, 3),
    9: Floors(2, 4, 5, 5, 4, 3),
}
CHUNK = 16  # bytes: two elements


@contextmanager
def conditions(large: bool, chunks: int) -> Iterator[None]:
    """What all parties of a schedule take for the product's constants."""
    true, chunk, hybrid = Floors.of, prg.CHUNK_BYTES, key_setup._hybrid

    def of(sites: int, corrupt: int, minimum: int) -> Floors:
        return ROWS[sites] if sites in ROWS else true(sites, corrupt, minimum)

    try:
        key_setup._hybrid = lru_cache(maxsize=32)(hybrid)  # a key that three rounds make of one seed is made once
        if large:
            Floors.of = staticmethod(of)  # type: ignore[method-assign]
        if chunks > 1:
            prg.CHUNK_BYTES = CHUNK  # type: ignore[misc]
        yield
    finally:
        Floors.of = staticmethod(true)  # type: ignore[method-assign]
        key_setup._hybrid = hybrid
        prg.CHUNK_BYTES = chunk  # type: ignore[misc]
