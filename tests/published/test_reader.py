"""Tests of Reader and of the changes of layout."""

import jax
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision import published
from jaxvision.errors import UserError


class ReaderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    weights = {"conv.weight": np.zeros((4, 3, 2, 2)), "conv.bias": np.zeros(4)}
    self.reader = published.Reader(
      weights | {"bn.num_batches_tracked": np.array(0)}, "model.pth"
    )

  def test_all_taken(self):
    self.assertEqual(self.reader.take("conv.weight", (4, 3, 2, 2)).ndim, 4)
    self.reader.take("conv.bias")
    self.reader.take("conv.bias")  # tied weights are taken twice
    self.reader.finish(ignore=["*.num_batches_tracked"])

  def test_weights_left_over_are_named(self):
    self.reader.take("conv.weight")
    left = r"model\.pth: never used conv\.bias, bn\.num_batches_tracked$"
    with self.assertRaisesRegex(UserError, left):
      self.reader.finish()

  def test_missing_weight_and_wrong_shape(self):
    with self.assertRaisesRegex(UserError, r"lacks conv\.wight; .* conv\.weight"):
      self.reader.take("conv.wight")
    with self.assertRaisesRegex(UserError, r"conv\.bias has shape \(4,\) instead"):
      self.reader.take("conv.bias", (5,))


class LayoutTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 3)
  def test_conv_kernel_is_the_transpose_that_lax_takes(self, rank):
    rng = np.random.default_rng(0)
    spatial = "WHD"[:rank]
    x = rng.standard_normal((1, 3, *(5,) * rank)).astype(np.float32)
    weight = rng.standard_normal((4, 3, *(2,) * rank)).astype(np.float32)
    theirs = jax.lax.conv_general_dilated(
      x,
      weight,
      (1,) * rank,
      "VALID",
      dimension_numbers=(f"NC{spatial}", f"OI{spatial}", f"NC{spatial}"),
    )
    ours = jax.lax.conv_general_dilated(
      np.moveaxis(x, 1, -1),
      published.conv_kernel(weight),
      (1,) * rank,
      "VALID",
      dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
    )
    np.testing.assert_allclose(np.moveaxis(ours, -1, 1), theirs, rtol=1e-5, atol=1e-5)

  def test_linear_kernel(self):
    weight = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(published.linear_kernel(weight), weight.T)

  def test_wrong_rank_is_refused(self):
    with self.assertRaises(AssertionError):
      published.conv_kernel(np.zeros((2, 3)))
    with self.assertRaises(AssertionError):
      published.linear_kernel(np.zeros((2, 3, 4)))


class EntryTest(absltest.TestCase):
  def test_what_lies_under_a_name(self):
    weights = {"state_dict.conv.weight": 1, "epoch": 2, "state_dictionary.x": 3}
    self.assertEqual(published.entry(weights, "state_dict"), {"conv.weight": 1})

  def test_all_where_nothing_lies_under_it(self):
    weights = {"conv.weight": 1, "state_dict_of_another.x": 2}
    self.assertEqual(published.entry(weights, "state_dict"), weights)


if __name__ == "__main__":
  absltest.main()
