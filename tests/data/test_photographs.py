"""Tests of the photographs that come with packages."""

import importlib.util
import socket
from unittest import mock

import numpy as np
from absl.testing import absltest

from jaxvision.data import photographs
from jaxvision.errors import UserError


class PhotographsTest(absltest.TestCase):
  def test_all_are_there_without_network(self):
    with mock.patch.object(socket, "socket", side_effect=AssertionError("network")):
      color = photographs.photographs()
      grey = photographs.grey_photographs()
    self.assertContainsSubset(["astronaut", "coffee", "china", "flower"], color)
    for name, image in color.items():
      self.assertEqual((image.dtype, image.shape[2:]), (np.uint8, (3,)), name)
      self.assertGreater(image.std(), 10, name)
    for name, image in grey.items():
      self.assertEqual((image.dtype, image.shape[2:]), (np.uint8, (1,)), name)
    self.assertEqual(color["astronaut"].shape, (512, 512, 3))

  def test_disparity_matches_left_to_right(self):
    left, right, disparity = photographs.motorcycle_stereo()
    rows, columns = np.nonzero(np.isfinite(disparity))
    matched = np.round(columns - disparity[rows, columns]).astype(int)
    inside = matched >= 0
    rows, columns, matched = rows[inside], columns[inside], matched[inside]

    def error(shift):
      shifted = np.clip(matched + shift, 0, right.shape[1] - 1)
      difference = left[rows, columns].astype(float) - right[rows, shifted]
      return np.median(np.abs(difference))

    self.assertLess(error(0), min(error(-8), error(8)) / 2)

  def test_missing_package_names_the_extra(self):
    with (
      mock.patch.object(importlib.util, "find_spec", lambda _: None),
      self.assertRaisesRegex(UserError, r"jaxvision\[demo\]"),
    ):
      photographs.photographs()


if __name__ == "__main__":
  absltest.main()
