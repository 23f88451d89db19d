"""A model that has answered an image, and how one is loaded."""

import io
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.serving.handlers.script import find_script
from sagemaker_object_detection.serving.queue import BatchQueue, Detect

if TYPE_CHECKING:
    from sagemaker_object_detection.serving.handlers.processes import UserHandler

log = logging.getLogger(__name__)

_GPU_BATCH = 8


@dataclass(frozen=True, eq=False)
class Model:
    """A model that has answered an image."""

    detect: Detect
    """Takes the contents of JPEG and PNG files."""
    labels: Labels
    thresholds: tuple[float, ...] | None = None
    """The score threshold of each class, None where the model has none."""
    handler: "UserHandler | None" = None
    """The script that answers in the place of this server."""
    work: "WorkFolder | None" = None
    """Where files lie that the script needs."""

    def stop_within(self, seconds: float) -> None:
        """Requests to the script that are not answered by then are refused (503)."""
        if self.handler is not None:
            self.handler.stop_within(seconds)

    def close(self) -> None:
        """Ends the script's processes."""
        if self.handler is not None:
            self.handler.close()
        if self.work is not None:
            self.work.cleanup()


class WorkFolder:
    """A temporary folder for what a script needs, made when it is first asked for: many a server may not write."""

    def __init__(self) -> None:
        self._made: tempfile.TemporaryDirectory[str] | None = None

    def __call__(self, name: str) -> Path:
        """A new folder of that name in it."""
        self._made = self._made or tempfile.TemporaryDirectory(prefix="script-", ignore_cleanup_errors=True)
        folder = Path(self._made.name) / name
        folder.mkdir()
        return folder

    def cleanup(self) -> None:
        if self._made is not None:
            self._made.cleanup()


class Loader:
    """Loads models for one queue. Imports TensorFlow, which takes seconds, and decides on what is computed.

    Args:
        queue: gets the size of its batches.
        environment: says which script answers.
        workers: processes of such a script.
    """

    def __init__(self, queue: BatchQueue, environment: Mapping[str, str], workers: int) -> None:
        from sagemaker_object_detection.devices.prepare import prepare_to_answer

        self._on_gpu = prepare_to_answer()
        self._queue, self._environment, self._workers = queue, environment, workers
        queue.batch_size = _GPU_BATCH if self._on_gpu else min(os.cpu_count() or 1, _GPU_BATCH)

    @property
    def device(self) -> str:
        """On what is computed, for the log."""
        return f"{'a GPU' if self._on_gpu else 'the CPU'}, up to {self._queue.batch_size} images at a time"

    def load(self, folder: Path) -> Model:
        """The model in a folder, once it has answered an image, as the first answer takes seconds.

        Raises:
            UserError: the folder holds no model, or a script that cannot be run.
        """
        from sagemaker_object_detection.serving.predictor import Predictor

        predictor = Predictor(folder, by_network=not self._on_gpu)
        image = io.BytesIO()
        Image.new("RGB", (64, 64)).save(image, "PNG")
        most = self._queue.batch_size
        # A GPU chooses its algorithms for every size of a batch on its own.
        for size in range(most, 0, -1) if self._on_gpu else {1, most}:
            predictor([image.getvalue()] * size)
        work = WorkFolder()
        script = find_script(folder, self._environment, work)
        if script is None:
            work.cleanup()
            return Model(predictor, predictor.labels, predictor.thresholds)
        from sagemaker_object_detection.serving.handlers.processes import UserHandler
        from sagemaker_object_detection.serving.handlers.rest import RestInterface

        rest = RestInterface(self._queue, predictor, predictor.pixels)
        handler = UserHandler(script, rest, self._workers, work)
        return Model(predictor, predictor.labels, predictor.thresholds, handler, work)
