"""Draws a response into its image, so that a person sees what the model sees."""

from PIL import Image, ImageDraw, ImageFont

from sagemaker_object_detection.serving.response import Response

_COLOURS = (
    "#e6194b",
    "#3cb44b",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#008080",
    "#9a6324",
    "#800000",
    "#808000",
    "#000075",
)


def draw(image: Image.Image, response: Response, min_score: float) -> Image.Image:
    """A copy of the RGB image with every box whose score is at least `min_score`, its label and its score.

    The worst is drawn first, so that the best lies on top. Lines and letters grow with the image.
    """
    drawn = image.convert("RGB")
    canvas = ImageDraw.Draw(drawn)
    width, height = drawn.size
    line = max(2, round(min(width, height) / 200))
    font = ImageFont.load_default(size=max(11.0, min(width, height) / 32))
    found = zip(response.normalized_boxes, response.classes, response.scores, strict=True)
    for (xmin, ymin, xmax, ymax), index, score in reversed([one for one in found if one[2] >= min_score]):
        colour = _COLOURS[index % len(_COLOURS)]
        left, top, right, bottom = xmin * width, ymin * height, xmax * width, ymax * height
        canvas.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=line)
        text = f"{response.labels[index]} {score:.2f}"
        box = canvas.textbbox((0, 0), text, font=font)
        text_width, text_height = box[2] + 4, box[3] + 4
        x = min(max(0.0, left), max(0.0, width - text_width))
        y = top - text_height if top >= text_height else min(top, height - text_height)
        canvas.rectangle((x, y, x + text_width, y + text_height), fill=colour)
        canvas.text((x + 2, y + 1), text, fill="white", font=font)
    return drawn
