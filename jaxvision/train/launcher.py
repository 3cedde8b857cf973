"""The command line of every experiment.

  python -m experiments.<paper> [--preset=demo] [--workdir=DIR]
    [--mode=all|train|evaluate|predict] [--config.FIELD=VALUE ...] [--data_dir=DIR]

A wrong flag, name, value or file ends with one line on stderr and exit status 2.
"""

import dataclasses
import errno
import glob
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import app, flags, logging
from etils import epath
from ml_collections import config_dict, config_flags

from jaxvision.errors import UserError
from jaxvision.train import configs
from jaxvision.train.memory import keep_freed_memory
from jaxvision.train.run import Run
from jaxvision.train.workdir import REPORT, read_owner

MODES = ("all", "train", "evaluate", "predict")
WRONG_USE = 2
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


@dataclasses.dataclass(frozen=True)
class Request:
  """What a command line asks for, checked."""

  mode: str
  preset: str
  config: Any
  workdir: epath.Path
  data_dir: epath.Path | None
  out: epath.Path | None
  inputs: tuple[epath.Path, ...]
  overwrite: bool
  coordinator_address: str | None
  num_processes: int | None
  process_id: int | None


def main(
  paper: str,
  Config: type,
  PRESETS: Mapping[str, Any],
  *,
  train: Callable[[Any, Run], None],
  evaluate: Callable[[Any, Run], None],
  predict: Callable[[Any, Run, Sequence[epath.Path]], None],
  citation: str = "",
) -> None:
  """Runs an experiment as its command line says, and exits.

  Args:
    paper: the paper's name, as in `experiments/<paper>.py`.
    Config: a frozen dataclass; its fields become flags `--config.FIELD`.
    PRESETS: {name: Config}; "demo" is the default.
    train: trains in the run's workdir, or goes on there.
    evaluate: measures what is trained; records results and claims in the run.
    predict: reads the user's files and writes files below `run.out`.
    citation: the paper's authors, title and venue.
  """
  request = None

  def read_flags(argv):
    nonlocal request
    request, rest = told_in_one_line(
      lambda: read_request(paper, Config, PRESETS, argv, flags.FLAGS)
    )
    return rest

  def launch(_):
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # orbax tells of every file it opens
    told_in_one_line(
      lambda: perform(
        paper,
        PRESETS,
        request,
        train=train,
        evaluate=evaluate,
        predict=predict,
        citation=citation,
      )
    )

  app.run(launch, flags_parser=read_flags)


def read_request(
  paper: str,
  Config: type,
  PRESETS: Mapping[str, Any],
  argv: Sequence[str],
  flag_values: flags.FlagValues,
) -> tuple[Request, list[str]]:
  """Returns what a command line asks for, and argv without the flags.

  Args:
    paper: the paper's name.
    Config: the experiment's frozen dataclass.
    PRESETS: {name: Config}.
    argv: the command line, the program's name first.
    flag_values: where the flags are defined.

  Raises:
    UserError: a wrong flag, name, value or file.
  """
  _define_flags(Config, PRESETS, argv, flag_values)
  try:
    rest = flag_values(argv)
  except flags.UnrecognizedFlagError as error:
    own = flag_values.get_key_flags_for_module(sys.modules[__name__])
    valid = [f"--{flag.name}" for flag in own if flag.name != "config"]
    raise configs.unknown_name(
      "flag", f"--{error.flagname}", [*valid, "--config.FIELD", "--helpfull"]
    ) from None
  except flags.Error as error:
    raise UserError(" ".join(str(error).split())) from None
  if len(rest) > 1:
    raise UserError(f"argument {rest[1]!r} is not a flag: flags begin with --")

  mode = flag_values["mode"].value
  if mode not in MODES:
    raise configs.unknown_name("--mode", mode, MODES)
  preset = flag_values["preset"].value
  if preset is not None and preset not in PRESETS:
    raise configs.unknown_name("--preset", preset, PRESETS)
  for name in ("inputs", "out"):
    if flag_values[name].value and mode != "predict":
      raise UserError(f"--{name} is for --mode=predict, not --mode={mode}")
  if mode == "predict" and not flag_values["inputs"].value:
    raise UserError("--mode=predict needs --inputs=FILE,FILE,...")
  if flag_values["overwrite"].value and mode in ("evaluate", "predict"):
    raise UserError(f"--overwrite would remove what --mode={mode} needs")

  workdir = _path(flag_values["workdir"].value) or epath.Path(
    f"runs/{paper}-{preset or 'demo'}"
  )
  owner = read_owner(workdir) if mode in ("evaluate", "predict") else None
  if preset is None and owner is not None and owner["paper"] == paper:
    # What was trained there is what is evaluated, without naming all of it again.
    preset, config = owner["preset"], _stored_config(Config, owner, workdir)
  else:
    preset = preset or "demo"
    config = PRESETS[preset]
  config = _changed(config, Config, flag_values["config"].override_values)

  data_dir = _path(flag_values["data_dir"].value)
  if data_dir is not None and not data_dir.is_dir():
    raise UserError(f"--data_dir={data_dir} is no directory")
  request = Request(
    mode=mode,
    preset=preset,
    config=config,
    workdir=workdir,
    data_dir=data_dir,
    out=_path(flag_values["out"].value),
    inputs=tuple(_input_files(flag_values["inputs"].value)),
    overwrite=flag_values["overwrite"].value,
    coordinator_address=flag_values["coordinator_address"].value,
    num_processes=flag_values["num_processes"].value,
    process_id=flag_values["process_id"].value,
  )
  return request, rest


def perform(
  paper: str,
  PRESETS: Mapping[str, Any],
  request: Request,
  *,
  train: Callable,
  evaluate: Callable,
  predict: Callable,
  citation: str = "",
) -> None:
  """Does what was asked for; its last line says where the outcome is."""
  from jaxvision.train import distributed

  keep_freed_memory()
  distributed.initialize(
    request.coordinator_address, request.num_processes, request.process_id
  )
  run = Run(
    paper,
    request.preset,
    request.config,
    request.workdir,
    data_dir=request.data_dir,
    out=request.out,
    overwrite=request.overwrite,
    citation=citation,
    command=_command(paper, PRESETS, request),
  )
  with run:
    if request.mode == "predict":
      run.out.mkdir(parents=True, exist_ok=True)
      predict(request.config, run, list(request.inputs))
      run.log(f"predictions: {run.out}")
      return
    if request.mode in ("all", "train"):
      train(request.config, run)
    if request.mode in ("all", "evaluate"):
      evaluate(request.config, run)
    run.finish()
    run.log(f"report: {run.workdir / REPORT}")


def _define_flags(
  Config: type,
  PRESETS: Mapping[str, Any],
  argv: Sequence[str],
  flag_values: flags.FlagValues,
) -> None:
  names = ", ".join(PRESETS)
  text = {
    "preset": f"One of {names}; demo when not given.",
    "workdir": "Where everything is written; runs/<paper>-<preset> when not given.",
    "mode": f"One of {', '.join(MODES)}; all is train, then evaluate.",
    "data_dir": "Where prepared data sets lie.",
    "out": "Where --mode=predict writes; WORKDIR/predictions when not given.",
    "coordinator_address": "HOST:PORT of process 0, where it is not detected.",
  }
  for name, help_text in text.items():
    default = "all" if name == "mode" else None
    flags.DEFINE_string(name, default, help_text, flag_values=flag_values)
  flags.DEFINE_multi_string(
    "inputs",
    [],
    "Files or patterns for --mode=predict, separated by commas or repeated.",
    flag_values=flag_values,
  )
  flags.DEFINE_bool(
    "overwrite",
    False,
    "Remove what an earlier run wrote in the workdir.",
    flag_values=flag_values,
  )
  for name in ("num_processes", "process_id"):
    flags.DEFINE_integer(
      name,
      None,
      "For jax.distributed, where it is not detected.",
      flag_values=flag_values,
    )
  _define_config_flags(Config, PRESETS, argv, flag_values)
  for flag in flag_values.get_key_flags_for_module(sys.modules[__name__]):
    flag_values.register_key_flag_for_module(argv[0], flag)  # --help lists these


def _define_config_flags(
  Config: type,
  PRESETS: Mapping[str, Any],
  argv: Sequence[str],
  flag_values: flags.FlagValues,
) -> None:
  annotations = configs.fields(Config)
  for argument in argv[1:]:
    field = re.match(r"--?(?:no)?config\.([^=]*)", argument)
    if field and field[1] not in annotations:
      raise configs.unknown_name("config field", field[1], annotations)
  # config_flags writes into the object that it is given, which a frozen dataclass
  # refuses, and knows neither unions nor Literals: it collects texts here, and
  # configs.parse gives each its type.
  texts = config_dict.ConfigDict()
  for path, annotation in annotations.items():
    holder = texts
    *parents, name = path.split(".")
    for parent in parents:
      if parent not in holder:
        holder[parent] = config_dict.ConfigDict()
      holder = holder[parent]
    holder[name] = config_dict.FieldReference(
      None, field_type=bool if annotation is bool else str
    )
  described = [
    f"--config.{path}: {configs.type_name(annotation)}, "
    + ", ".join(
      f"{preset} {configs.values(config)[path]!r}" for preset, config in PRESETS.items()
    )
    for path, annotation in annotations.items()
  ]
  config_flags.DEFINE_config_dict(
    "config",
    texts,
    "A field of the config is set with --config.FIELD=VALUE:\n" + "\n".join(described),
    flag_values,
    sys_argv=list(argv),
  )
  flag_values["config"].default_as_str = None  # the presets' values are in the help


def _changed(config: Any, Config: type, texts: Mapping[str, Any]) -> Any:
  """Returns the config with the fields that flags set."""
  annotations = configs.fields(Config)
  changes = {}
  for path, text in texts.items():
    try:
      changes[path] = (
        text if isinstance(text, bool) else configs.parse(annotations[path], text)
      )
    except ValueError as error:
      raise UserError(f"--config.{path}: {error}") from None
  try:
    return configs.replace(config, changes)
  except ValueError as error:  # from a __post_init__ that checks the fields
    raise UserError(f"config: {error}") from None


def _stored_config(Config: type, owner: Mapping[str, Any], workdir: epath.Path) -> Any:
  """Returns the config that a workdir was trained with."""
  here, there = configs.fields(Config), configs.flatten(owner["config"])
  if set(here) != set(there):
    changed = ", ".join(sorted(set(here) ^ set(there)))
    raise UserError(
      f"{workdir} was trained when the config had other fields ({changed})"
    )
  return configs.from_json(Config, owner["config"])


def _command(paper: str, PRESETS: Mapping[str, Any], request: Request) -> str:
  """Returns the command that repeats a run from nothing."""
  words = ["python", "-m", f"experiments.{paper}", f"--preset={request.preset}"]
  preset = configs.values(PRESETS[request.preset])
  for path, value in configs.values(request.config).items():
    if value != preset[path]:
      words.append(f"--config.{path}={value}")
  if request.data_dir is not None:
    words.append(f"--data_dir={request.data_dir}")
  return shlex.join(words)


def _path(text: str | None) -> epath.Path | None:
  return epath.Path(text).expanduser() if text else None


def _input_files(texts: Sequence[str]) -> list[epath.Path]:
  """Returns the files that --inputs names, patterns expanded in sorted order."""
  files = []
  for text in texts:
    # A file's own name may hold a comma.
    for name in [text] if epath.Path(text).exists() else text.split(","):
      path = epath.Path(name).expanduser()
      found = [path] if path.exists() else sorted(map(epath.Path, glob.glob(str(path))))
      if not found:
        raise UserError(f"--inputs: no file is, or matches, {name!r}")
      files += found
  return files


def told_in_one_line(call: Callable[[], Any]) -> Any:
  """Returns call(); ends the process with one line where the user is to act."""
  try:
    return call()
  except UserError as error:
    message, status = " ".join(str(error).split()), WRONG_USE
  except KeyboardInterrupt:
    message, status = "interrupted; the same command goes on", INTERRUPTED
  except OSError as error:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
      raise
    # A buffered write does not say to which file.
    where = f" {error.filename}" if error.filename else ""
    message, status = f"cannot write{where}: {error.strerror}", WRONG_USE
  print(f"error: {message}", file=sys.stderr, flush=True)
  sys.exit(status)
