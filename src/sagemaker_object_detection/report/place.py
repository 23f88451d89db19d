"""Where reports lie. Apart from the page, whose charts take seconds to import on a loaded machine."""

import shutil
from pathlib import Path

FILE_NAME = "report.html"
PICTURES = "report"
EVALUATION_FILE = "evaluation.json"
IMAGES_FILE = "images.jsonl"


def remove_page(folder: Path) -> None:
    """Removes the page of an earlier run, which would speak of another model; of a link the link alone.

    Raises:
        OSError: it cannot be removed.
    """
    (folder / FILE_NAME).unlink(missing_ok=True)
    pictures = folder / PICTURES
    if pictures.is_dir() and not pictures.is_symlink():
        shutil.rmtree(pictures)
    else:
        pictures.unlink(missing_ok=True)
