"""The launchers' own decisions; what they start is tested elsewhere."""

import os
import pathlib
import subprocess
import tempfile

from absl.testing import absltest, parameterized

LAUNCH = pathlib.Path(__file__).parents[2] / "launch"


def bash(*words, **environment):
  return subprocess.run(
    ["bash", *map(str, words)],
    capture_output=True,
    text=True,
    env=os.environ | environment,
    cwd=tempfile.gettempdir(),
  )


class LaunchTest(parameterized.TestCase):
  @parameterized.parameters(
    "environment.sh", "local.sh", "test.sh", "slurm.sbatch", "tpu_pod.sh"
  )
  def test_scripts_parse(self, script):
    result = bash("-n", LAUNCH / script)
    self.assertEqual((result.returncode, result.stderr), (0, ""))

  @parameterized.parameters(
    ([], "name a paper"),
    (["no_such_paper"], "not 'no_such_paper': .*content_authentication"),
    (["content_authentication", "--accelerator=abacus"], "cpu, cuda, tpu"),
  )
  def test_wrong_words_end_in_one_line_and_status_2(self, words, message):
    result = bash(LAUNCH / "local.sh", *words)
    self.assertEqual(result.returncode, 2)
    self.assertRegex(result.stderr, message)
    self.assertLen(result.stderr.splitlines(), 1)

  def test_unfit_python_is_named(self):
    with tempfile.TemporaryDirectory() as folder:
      result = bash(
        LAUNCH / "local.sh",
        "content_authentication",
        JAXVISION_PYTHON="/bin/false",
        JAXVISION_VENV=f"{folder}/venv",
      )
    self.assertEqual(result.returncode, 2)
    self.assertRegex(result.stderr, "CPython 3.11, 3.12 or 3.13; /bin/false")

  def test_pod_runs_the_same_words_on_every_worker(self):
    with tempfile.TemporaryDirectory() as folder:
      gcloud = pathlib.Path(folder) / "gcloud"
      gcloud.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
      gcloud.chmod(0o755)
      result = bash(
        LAUNCH / "tpu_pod.sh",
        "content_authentication",
        "--inputs=two words.png",
        PATH=f"{folder}:{os.environ['PATH']}",
        TPU="pod",
        ZONE="zone",
        REPOSITORY="somewhere.git",
        REVISION="main",
      )
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertIn("--worker=all", result.stdout)
    self.assertIn(
      "bash launch/local.sh content_authentication --inputs=two\\ words.png"
      " --accelerator=tpu",
      result.stdout,
    )


if __name__ == "__main__":
  absltest.main()
