"""Tests of the pipeline from examples to batches."""

import json
from unittest import mock

import jax
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import pipeline
from jaxvision.errors import UserError


def _jitter(example, rng):
  return {"index": example["index"], "noise": rng.normal(size=2)}


def _refuse_seven(example, rng):
  del rng
  if example["index"] == 7:
    raise UserError("seven.png: truncated")
  return example


def _source(length):
  return pipeline.ArraySource({"index": np.arange(length)})


def _take(iterator, count):
  return [next(iterator) for _ in range(count)]


class BatchesTest(parameterized.TestCase):
  def assert_same(self, first, second):
    self.assertEqual(len(first), len(second))
    jax.tree.map(np.testing.assert_array_equal, first, second)

  def test_each_epoch_sees_every_example_once_in_a_new_order(self):
    epochs = list(pipeline.batches(_source(12), batch_size=4, seed=0, num_epochs=2))
    first, second = np.split(np.concatenate([b["index"] for b in epochs]), 2)
    np.testing.assert_array_equal(np.sort(first), np.arange(12))
    np.testing.assert_array_equal(np.sort(second), np.arange(12))
    self.assertFalse((first == second).all())
    self.assertFalse((first == np.arange(12)).all())

  def test_without_shuffle_the_order_is_that_of_the_source(self):
    found = pipeline.batches(
      list("abcde"), batch_size=2, seed=0, shuffle=False, num_epochs=1
    )
    self.assertEqual([batch.tolist() for batch in found], [["a", "b"], ["c", "d"]])

  def test_remainder_is_kept_on_request(self):
    found = pipeline.batches(
      _source(5), batch_size=2, seed=0, num_epochs=2, drop_remainder=False
    )
    self.assertEqual([len(batch["index"]) for batch in found], [2, 2, 1, 2, 2, 1])

  def test_seed_decides_order_and_transforms(self):
    def run(seed):
      return _take(
        pipeline.batches(_source(9), batch_size=3, seed=seed, transform=_jitter), 5
      )

    self.assert_same(run(1), run(1))
    self.assertFalse(np.array_equal(run(1)[0]["noise"], run(2)[0]["noise"]))

  def test_transform_differs_between_examples_and_epochs(self):
    found = list(
      pipeline.batches(
        _source(6), batch_size=3, seed=0, num_epochs=3, transform=_jitter
      )
    )
    noise = np.concatenate([batch["noise"] for batch in found])
    self.assertLen(np.unique(noise), noise.size)

  def test_resumes_with_the_same_bits(self):
    def start():
      return pipeline.batches(_source(10), batch_size=3, seed=5, transform=_jitter)

    stopped = start()
    _take(stopped, 4)
    state = json.loads(json.dumps(stopped.get_state()))
    resumed = start()
    resumed.set_state(state)
    self.assert_same(_take(stopped, 7), _take(resumed, 7))

  def test_workers_give_the_same_bits_resume_and_pass_errors_on(self):
    def start(workers, transform=_jitter):
      return pipeline.batches(
        _source(10), batch_size=3, seed=5, transform=transform, workers=workers
      )

    stopped = start(2)
    self.assert_same(_take(stopped, 5), _take(start(0), 5))
    state = json.loads(json.dumps(stopped.get_state()))
    expected = _take(start(0), 9)[5:]
    stopped.close()
    resumed = start(2)
    resumed.set_state(state)
    self.assert_same(_take(resumed, 4), expected)
    resumed.close()
    with self.assertRaisesRegex(UserError, "seven.png"):
      _take(start(1, _refuse_seven), 4)

  @parameterized.parameters(2, 3)
  def test_processes_together_see_the_batch_of_one(self, processes):
    def start():
      return pipeline.batches(_source(20), batch_size=6, seed=2, transform=_jitter)

    alone = _take(start(), 5)
    shares = []
    with mock.patch.object(jax, "process_count", lambda: processes):
      for process in range(processes):
        with mock.patch.object(jax, "process_index", lambda p=process: p):
          shares.append(_take(start(), 5))
    together = [
      jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
      for parts in zip(*shares, strict=True)
    ]
    self.assert_same(alone, together)

  def test_error_of_an_example_comes_through(self):
    with self.assertRaisesRegex(UserError, "seven.png"):
      _take(
        pipeline.batches(_source(8), batch_size=4, seed=0, transform=_refuse_seven), 2
      )

  def test_batch_larger_than_the_data_is_refused(self):
    with self.assertRaisesRegex(UserError, "3 examples, fewer than a batch of 4"):
      pipeline.batches(_source(3), batch_size=4, seed=0)
    with self.assertRaisesRegex(UserError, "0 examples"):
      pipeline.batches([], batch_size=4, seed=0, drop_remainder=False)

  def test_batch_that_processes_cannot_share_is_refused(self):
    with mock.patch.object(jax, "process_count", lambda: 4):
      with self.assertRaisesRegex(UserError, "4 processes cannot share batches of 6"):
        pipeline.batches(_source(8), batch_size=6, seed=0)
      with self.assertRaisesRegex(UserError, "a last one of 2"):
        pipeline.batches(_source(10), batch_size=8, seed=0, drop_remainder=False)


class ArraySourceTest(absltest.TestCase):
  def test_holds_rows(self):
    source = pipeline.ArraySource({"a": np.eye(3), "b": np.arange(3)})
    self.assertLen(source, 3)
    np.testing.assert_array_equal(source[1]["a"], [0.0, 1.0, 0.0])
    self.assertEqual(source[2]["b"], 2)

  def test_unequal_lengths_are_refused(self):
    with self.assertRaises(AssertionError):
      pipeline.ArraySource({"a": np.zeros(3), "b": np.zeros(4)})


if __name__ == "__main__":
  absltest.main()
