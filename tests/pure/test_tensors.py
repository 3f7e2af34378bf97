"""Tensors over Arrow's read-only arrays cause no warning."""

import subprocess
import sys

PROGRAM = """
import numpy as np, torch
from genremill.udfs import profile_sums, tagging
x = np.zeros((2, 2), np.float32)
x.flags.writeable = False
torch.from_numpy(x)
"""


def test_a_read_only_array_causes_no_warning() -> None:
    finished = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert finished.stderr == ""
