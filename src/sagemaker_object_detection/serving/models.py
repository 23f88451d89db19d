"""The models of a multi-model endpoint, by SageMaker's contract (developer guide, mms-container-apis): they are loaded
and unloaded while others answer, and never more at a time than there is room for.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sagemaker_object_detection.artifact.inference import RequestError
from sagemaker_object_detection.errors import JobError, UserError, first_line
from sagemaker_object_detection.files.walk import files_below
from sagemaker_object_detection.job.memory import available_memory, memory_limit
from sagemaker_object_detection.sentences import is_printable, shown
from sagemaker_object_detection.serving.model import Model
from sagemaker_object_detection.serving.published import find_model
from sagemaker_object_detection.serving.queue import PATIENCE
from sagemaker_object_detection.serving.settings import MAX_MODELS

log = logging.getLogger(__name__)

PAGE = 100
"""Models of one answer to `GET /models`."""
_MAX_NAME = 512
_MAX_URL = 4096
_MAX_FILES = 10_000
_BYTES_OF_A_MODEL = 128 * 2**20
_TIMES_ITS_FILES = 2
"""What a loaded model takes. Measured on two cores: 110 MB with 13 MB of files (SSD MobileNet V2 320), 250 MB with 126
MB (SSD ResNet50 V1 640)."""
_SHARE_KEPT_FREE = 0.2
_MOST_KEPT_FREE = 2 * 2**30
"""Of the memory: for the bodies of requests and for computing, of which every batch takes up to 1.7 GB."""


@dataclass(eq=False)
class _Entry:
    name: str
    url: str
    model: Model | None = None
    """None while it is loaded."""
    done: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when loading has ended, either way."""
    users: int = 0
    """Requests under way."""
    unused: asyncio.Event = field(default_factory=asyncio.Event)


class Models:
    """Models by name. Every method but `load`'s own loading runs in the server's loop.

    Args:
        most: models at a time; None for as many as the memory has room for.
    """

    def __init__(self, most: int | None) -> None:
        self.load_model: Callable[[Path], Model] | None = None
        """Set when models can be loaded."""
        self._most = most
        self._entries: dict[str, _Entry] = {}
        self._leaving: dict[str, _Entry] = {}
        """Unloaded, while their last requests are answered."""
        self._stopping = self._busy = False
        # One at a time: each begins when it is known what the one before it has left of the memory.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")

    async def load(self, name: Any, url: Any) -> None:
        """Loads the model in folder `url`, to be called `name`.

        Raises:
            RequestError: 400: name or url is none, or no model lies there; 409: there is a model of that name; 507:
                there is no room; 503: the server is not ready, or is stopping; 500: a fault.
        """
        if not (isinstance(name, str) and 0 < len(name) <= _MAX_NAME and is_printable(name) and "/" not in name):
            raise RequestError(
                400, f"model_name: got {shown(name)}; expected 1 to {_MAX_NAME} printable characters without a slash"
            )
        if not (isinstance(url, str) and url.startswith("/") and len(url) <= _MAX_URL and is_printable(url)):
            raise RequestError(
                400, f"url: got {shown(url)}; expected the path of a folder, as /opt/ml/models/NAME/model"
            )
        if self.load_model is None:
            raise RequestError(503, "the server is not ready yet; try again")
        if name in self._leaving:
            raise RequestError(503, f"model {shown(name)} is being unloaded; try again")
        if other := self._entries.get(name):
            await other.done.wait()
            if other.model is not None:
                raise RequestError(409, f"model {shown(name)} is loaded already, from {shown(other.url)}")
            raise RequestError(503, f"model {shown(name)} could not be loaded just now; try again")
        if self._most is not None and len(self._entries) + len(self._leaving) >= self._most:
            raise RequestError(
                507, f"no room for model {shown(name)}: {self._most} are loaded ({MAX_MODELS}); unload one"
            )
        entry = self._entries[name] = _Entry(name, url)
        try:
            loop = asyncio.get_running_loop()
            entry.model = await loop.run_in_executor(self._loader, self._load, Path(url), self.load_model)
        except BaseException:
            self._entries.pop(name, None)
            raise
        finally:
            entry.done.set()
        log.info("Loaded model %s from %s; %d are loaded.", shown(name), shown(url), len(self._entries))

    @contextmanager
    def use(self, name: str) -> Iterator[Model]:
        """The model of a request, which is kept until its end. Raises RequestError (404) where none is loaded."""
        entry = self._find(name)
        assert entry.model is not None
        entry.users += 1
        try:
            yield entry.model
        finally:
            entry.users -= 1
            if not entry.users:
                entry.unused.set()

    async def unload(self, name: str) -> None:
        """Forgets a model at once, and returns when its last request is answered and its memory free.

        Raises:
            RequestError: 404: none of that name is loaded.
        """
        entry = self._find(name)
        self._leaving[name] = self._entries.pop(name)
        try:
            if entry.users:
                entry.unused.clear()
                async with asyncio.timeout(PATIENCE):
                    await entry.unused.wait()
        except TimeoutError:
            log.warning("Model %s is unloaded, though %d of its requests are not answered.", shown(name), entry.users)
        finally:
            del self._leaving[name]
            if entry.model is not None:
                entry.model.close()
                entry.model = None
        log.info("Unloaded model %s; %d are loaded.", shown(name), len(self._entries))

    def describe(self, name: str) -> dict[str, str]:
        """What `GET /models/NAME` says. Raises RequestError (404) where none is loaded."""
        entry = self._find(name)
        return {"modelName": entry.name, "modelUrl": entry.url}

    def page(self, token: str) -> dict[str, Any]:
        """What `GET /models` says: models in the order of their names, after the one that `token` names."""
        names = sorted(name for name, entry in self._entries.items() if entry.model is not None and name > token)
        content: dict[str, Any] = {"models": [self.describe(name) for name in names[:PAGE]]}
        if len(names) > PAGE:
            content["nextPageToken"] = names[PAGE - 1]
        return content

    def stop_within(self, seconds: float) -> None:
        """Loads that have not begun are refused, and so are requests to scripts that are not answered by then."""
        self._stopping = True
        for entry in (*self._entries.values(), *self._leaving.values()):
            if entry.model is not None:
                entry.model.stop_within(seconds)

    def close(self) -> bool:
        """Ends what scripts are running; False where a model is still being loaded."""
        self._loader.shutdown(wait=False, cancel_futures=True)
        for entry in (*self._entries.values(), *self._leaving.values()):
            if entry.model is not None:
                entry.model.close()
        return not self._busy

    def _find(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None or entry.model is None:
            state = "is still being loaded" if entry else "is not loaded"
            raise RequestError(404, f"model {shown(name)} {state}; load it with POST /models")
        return entry

    def _load(self, folder: Path, load_model: Callable[[Path], Model]) -> Model:
        if self._stopping:
            raise RequestError(503, "the server is stopping; try again")
        self._busy = True
        try:
            find_model(folder)  # what is none need not be measured
            if self._most is None and (lack := _lacking(folder)):
                raise RequestError(507, f"no room for the model in {shown(str(folder))}: {lack}; unload one")
            return load_model(folder)
        except RequestError:
            raise
        except UserError as error:
            raise RequestError(400, str(error)) from error
        except JobError as error:
            raise RequestError(500, str(error)) from error
        except MemoryError as error:
            raise RequestError(
                507, f"no room for the model in {shown(str(folder))}: memory ran out; unload one"
            ) from error
        except Exception as error:
            if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
                raise RequestError(507, f"no room for the model: {first_line(error)}; unload one") from error
            log.error("A model could not be loaded.", exc_info=error)
            raise RequestError(
                500, f"the model could not be loaded ({type(error).__name__}: {first_line(error)})"
            ) from error
        finally:
            self._busy = False


def _lacking(folder: Path) -> str | None:
    """What the memory lacks for the model in a folder; None where there is room."""
    names = islice(files_below(folder, lambda error: None), _MAX_FILES)
    size = sum(path.stat().st_size for name in names if (path := folder / name).is_file())
    needed = _BYTES_OF_A_MODEL + _TIMES_ITS_FILES * size
    kept = min(_MOST_KEPT_FREE, int(_SHARE_KEPT_FREE * memory_limit()))
    free = available_memory()
    if free - kept >= needed:
        return None
    return (
        f"it may take {needed // 2**20} MB, and {free // 2**20} MB of the memory are free, of which "
        f"{kept // 2**20} MB are kept for requests"
    )
