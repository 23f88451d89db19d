"""Data sets of one class with one large object in each picture, cut out of other data sets: as many users have them."""

import json
import random
from pathlib import Path

from PIL import Image

SHARE = 0.5
"""Of a picture's area that its object fills, where the photograph is large enough around it."""


def one_object_each(whole: Path, folder: Path, category: str | None) -> None:
    """Writes both channels of `folder`: a picture around each box of `whole`, the box at a random place in it.

    Args:
        whole: folder of a data set with both channels.
        category: name of the objects to take; None: all, as one class.
    """
    for channel in ("training", "validation"):
        document = json.loads((whole / channel / "annotations.json").read_text(encoding="utf-8"))
        wanted = {row["id"] for row in document["categories"] if category in (None, row["name"])}
        names = {row["id"]: row["file_name"] for row in document["images"]}
        (folder / channel / "images").mkdir(parents=True)
        images, annotations, draw = [], [], random.Random(1)
        for number, row in enumerate(document["annotations"]):
            left, top, right, bottom = row["bbox"]
            if row["category_id"] not in wanted or right - left < 2 or bottom - top < 2:
                continue
            with Image.open(whole / channel / "images" / names[row["image_id"]]) as photograph:
                sides = [length * SHARE**-0.5 for length in (right - left, bottom - top)]
                x0 = max(0, round(draw.uniform(right - sides[0], left)))
                y0 = max(0, round(draw.uniform(bottom - sides[1], top)))
                x1, y1 = min(photograph.width, round(x0 + sides[0])), min(photograph.height, round(y0 + sides[1]))
                picture = photograph.convert("RGB").crop((x0, y0, x1, y1))
            box = [max(0, left - x0), max(0, top - y0), min(x1, right) - x0, min(y1, bottom) - y0]
            picture.save(folder / channel / "images" / f"{number}.jpg", quality=92)
            size = {"width": picture.width, "height": picture.height}
            images.append({"id": number, "file_name": f"{number}.jpg", **size})
            annotations.append({"image_id": number, "category_id": 1, "bbox": box})
        categories = [{"id": 1, "name": category or "object"}]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / channel / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
