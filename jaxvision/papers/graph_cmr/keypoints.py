"""Which joints there are, in whose order, and how they mirror."""

import numpy as np

NAMES = (
  "right ankle",
  "right knee",
  "right hip",
  "left hip",
  "left knee",
  "left ankle",
  "right wrist",
  "right elbow",
  "right shoulder",
  "left shoulder",
  "left elbow",
  "left wrist",
  "neck",
  "top of head",
  "pelvis",
  "thorax",
  "spine",
  "jaw",
  "head",
  "nose",
  "left eye",
  "right eye",
  "left ear",
  "right ear",
)
COUNT = len(NAMES)
HIPS = (2, 3)

# Rows of [SMPL's 24 joints; 14 more] that are the joints above.
FROM_BODY = (8, 5, 29, 30, 4, 7, 21, 19, 17, 16, 18, 20, 31, 32, 33, 34, 35, 36, 37)
FROM_BODY += (24, 26, 25, 28, 27)

# The 14 joints that errors are measured on, among Human3.6M's and among the above.
EVALUATED_H36M = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)
EVALUATED = (*range(13), 18)

# What takes each joint's place in a mirrored picture, and each of SMPL's joints.
MIRRORED = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, *range(12, 20), 21, 20, 23, 22)
MIRRORED_SMPL = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18)
MIRRORED_SMPL += (21, 20, 23, 22)

# Human3.6M's 32 joints -> 17, the pelvis first.
H36M_32_TO_17 = (11, 6, 7, 8, 1, 2, 3, 12, 24, 14, 15, 17, 18, 19, 25, 26, 27)

BONES = (
  (0, 1),
  (1, 2),
  (3, 4),
  (4, 5),
  (6, 7),
  (7, 8),
  (9, 10),
  (10, 11),
  (2, 3),
  (8, 9),
  (8, 12),
  (9, 12),
  (12, 13),
  (2, 8),
  (3, 9),
)


def mirror(keypoints: np.ndarray) -> np.ndarray:
  """Returns joints [24, 2 or more] of the mirrored picture; x changes its sign."""
  mirrored = keypoints[list(MIRRORED)].copy()
  mirrored[:, 0] *= -1
  return mirrored


def mirror_pose(pose: np.ndarray) -> np.ndarray:
  """Returns axis-angles [72] of the mirrored body."""
  mirrored = pose.reshape(-1, 3)[list(MIRRORED_SMPL)] * np.array(
    [1, -1, -1], pose.dtype
  )
  return mirrored.reshape(-1)
