"""Principal components of a covariance matrix, with signs that two machines agree on (Jolliffe 2002, chapters 2, 3)."""

import numpy as np
from msgspec import Struct

from hansa.jobs.base import Array

NOTHING = 1e-12  # of the largest variance: a component below it is rounding
ALIKE = 1e-9  # of the largest variance: components nearer than that have no direction of their own


class Spectrum(Struct, frozen=True):
    """`variances` fall; `directions` (components, columns) are of unit length, the largest loading of each positive.
    `rank`: components that aren't rounding; `alike`: components whose variance is also another's."""

    variances: Array
    directions: Array
    rank: int
    alike: tuple[int, ...]


def spectrum(matrix: Array) -> Spectrum:
    values, vectors = np.linalg.eigh(matrix)
    values, directions = np.maximum(values[::-1], 0.0), vectors.T[::-1]
    size = np.abs(directions)
    # the first of those that are the largest but for rounding
    largest = np.argmax(size >= size.max(axis=1, keepdims=True) * (1 - 1e-9), axis=1)
    signs = np.sign(directions[np.arange(directions.shape[0]), largest])
    near = np.abs(np.diff(values)) <= ALIKE * values[0]
    alike = np.flatnonzero(np.append(near, False) | np.insert(near, 0, False))
    return Spectrum(
        values, directions * signs[:, None], int((values > NOTHING * values[0]).sum()), tuple(alike.tolist())
    )
