"""Which script answers requests, by what the SDKs' `deploy` says and what lies in a model's `code/`: it is not run."""

import ast
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sagemaker_object_detection.artifact.handler import handler_source
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.regular import read_regular
from sagemaker_object_detection.job.stop import NEVER
from sagemaker_object_detection.sentences import shown
from sagemaker_object_detection.serving.settings import PROGRAM, SUBMIT_DIRECTORY
from sagemaker_object_detection.weights import bounds
from sagemaker_object_detection.weights.archive import unpack
from sagemaker_object_detection.weights.s3 import fetch_s3

log = logging.getLogger(__name__)

CODE = "code"
HANDLER = "inference.py"
_MAX_BYTES = 2**20
_MODEL = "/opt/ml/model"
"""Where hosting unpacks a model: addresses of the SDKs begin so, wherever the model lies here."""
_JUMPSTART_ADDRESS = re.compile(r"s3://jumpstart-(cache|private-cache)-[a-z0-9-]+/")
_THIS_ALGORITHM = "/tensorflow/inference/od"
_JUMPSTART_MARKS = (b"Generic SM inference.py", b"from container_setup import", b"from constants import constants")
"""Of JumpStart's scripts for TensorFlow, two of which no other script has."""
_OTHER_FUNCTIONS = ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn", "handle")
"""Of the containers for PyTorch, MXNet and scikit-learn, and of multi-model-server."""
_WANTED = (("handler",), ("input_handler", "output_handler"))
"""What the TensorFlow Serving container calls: the first that a script has."""
_WAYS = (
    "put the script as code/inference.py into model.tar.gz, as the SDK does if it repacks a model, or deploy without "
    "entry_point"
)


@dataclass(frozen=True)
class Script:
    """A script with the handler functions of the TensorFlow Serving container."""

    path: Path
    functions: tuple[str, ...]
    """`handler`, or `input_handler` and `output_handler`."""

    @property
    def libraries(self) -> Path:
        """Packages that come with the script."""
        return self.path.parent / "lib"

    @property
    def requirements(self) -> Path:
        """Names of packages that are to be installed, unless `libraries` is there."""
        return self.path.parent / "requirements.txt"


def find_script(model: Path, environment: Mapping[str, str], work: Callable[[str], Path]) -> Script | None:
    """The script of the user's own that answers; None where this server does, which a line says unless nothing else was
    asked for.

    Args:
        model: the model directory.
        work: makes an empty folder of a name, for a script that is fetched.

    Raises:
        UserError: the script cannot be fetched or read, or is no Python.
        PlatformError: as `fetch_s3`.
    """
    program = environment.get(PROGRAM, "").strip()
    place = environment.get(SUBMIT_DIRECTORY, "").strip().removeprefix("file://")
    path: Path | None = model / CODE / HANDLER
    if _JUMPSTART_ADDRESS.match(place):
        says = "answers as it does" if _THIS_ALGORITHM in place else "answers as the built-in Object Detection does"
        log.info(
            "%s: %s is JumpStart's own script: it is not run, and this server %s.", SUBMIT_DIRECTORY, shown(place), says
        )
        return None
    if program or place:
        path = _named(model, program or HANDLER, place, work)
    if path is None or not path.is_file():
        return None
    try:
        text = read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a Python script: {_WAYS}") from error
    ours = handler_source()
    if text == ours:
        return None
    if text.startswith(ours.splitlines()[0]) and not program:  # the line is the same in every version of it
        log.info("%s is of another version of this image: it is not run, and this server answers itself.", path)
        return None
    if sum(mark in text for mark in _JUMPSTART_MARKS) >= 2:
        log.info("%s is JumpStart's own script: it is not run, and this server answers as it does.", path)
        return None
    names = _names(text, path)
    functions = next((wanted for wanted in _WANTED if names.issuperset(wanted)), None)
    if functions is None:
        others = [name for name in _OTHER_FUNCTIONS if name in names]
        log.warning(
            "%s is not run, and this server answers itself: the script has neither handler nor input_handler and "
            "output_handler, as SageMaker's TensorFlow Serving container asks for%s; rename its functions, or deploy "
            "without entry_point",
            path,
            f" ({', '.join(others)} belong to other containers)" if others else "",
        )
        return None
    return Script(path, functions)


def _named(model: Path, program: str, place: str, work: Callable[[str], Path]) -> Path | None:
    """The script that PROGRAM and SUBMIT_DIRECTORY name; None where there is none, after a warning."""
    folders = [model / CODE]
    if place.startswith("s3://"):
        if not os.path.isfile(model / CODE / program):
            folders = [_fetched(place, work)]
    elif place and not place.rstrip("/").startswith(_MODEL):
        folders.insert(0, Path(place))
    elif place:
        folders.insert(0, model / place.rstrip("/").removeprefix(_MODEL).lstrip("/"))
    for folder in folders:
        path = folder / program
        if os.path.isfile(path) and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            return path
    log.warning(
        "%s: %s is not there (looked in %s), and this server answers itself; %s",
        PROGRAM,
        shown(program),
        ", ".join(dict.fromkeys(str(folder) for folder in folders)),
        _WAYS,
    )
    return None


def _fetched(address: str, work: Callable[[str], Path]) -> Path:
    """The folder of a script that the SDK has put into S3, an archive."""
    transfer = bounds.Transfer(f"{SUBMIT_DIRECTORY}={shown(address)}", NEVER, _WAYS)
    arrived = fetch_s3(address, work("fetched"), transfer)
    if arrived.is_dir():
        return arrived
    folder = work("code")
    unpack(arrived, transfer.origin, folder)
    return folder


def _names(text: bytes, path: Path) -> set[str]:
    """What a script defines or imports at its top level."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UserError(f"{path}{line}: is no Python script ({reason}); correct it, or deploy without it") from error
    names: set[str] = set()
    nodes: list[ast.AST] = [tree]
    while nodes:
        for node in ast.iter_child_nodes(nodes.pop()):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.ImportFrom):
                names |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.Assign):
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            else:  # a condition, or a try
                nodes.append(node)
    return names
