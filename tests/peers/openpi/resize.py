"""openpi's own resize_with_pad of a picture. Runs in the environment of openpi-client.

Arguments: a .npy file with the picture, height and width; writes the result beside it, as .out.npy.
"""

import sys

import numpy as np
from openpi_client.image_tools import resize_with_pad

path, height, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
np.save(path.replace(".npy", ".out.npy"), resize_with_pad(np.load(path), height, width))
