"""Covariances of which each entry is computed from other rows, because values are missing.

Shape suffix: N variables.
"""

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


def positive(covariance_NN: Doubles) -> Doubles:
    """The nearest covariance in which no direction has a negative variance.

    >>> positive(np.array([[1.0, 2.0], [2.0, 1.0]]))
    array([[1.5, 1.5],
           [1.5, 1.5]])
    """
    variance_N, direction_NN = np.linalg.eigh(covariance_NN)
    return np.asarray((direction_NN * np.maximum(variance_N, 0)) @ direction_NN.T)
