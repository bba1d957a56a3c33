# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Pictures of predictions: on the image where something is, else below it."""

from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from beit3_mm.apis.canvas import (
    MIN_WIDTH,
    Colour,
    Row,
    add_rows,
    colour_of,
    enlarge,
    font_for,
    put_beside,
)
from beit3_mm.apis.images import InputImage
from beit3_mm.apis.predictions import (
    SHOWN,
    Caption,
    Choice,
    Detections,
    Judgement,
    LabelMap,
    Prediction,
    Ranking,
)

OPACITY = 0.5  # of masks and label maps
MIN_SCORE = 0.3  # of an object that is drawn, as in mmdet's inferencer
MAX_CLASSES = 12  # in the legend of a label map
THUMBNAIL = 256  # height in pixels of images side by side


@singledispatch
def draw(prediction: Prediction) -> Image.Image:
    """Draws a prediction into its images; small ones are enlarged.

    Args:
        prediction: As an `Inferencer` returns it.

    Raises:
        TypeError: If it is something else.
    """
    raise TypeError(f'a {type(prediction).__name__} is no prediction')


@draw.register
def draw_detections(
    prediction: Detections, min_score: float = MIN_SCORE
) -> Image.Image:
    """Draws masks, boxes and names of objects.

    Args:
        prediction: The objects.
        min_score: Of those that are drawn.
    """
    sure = np.flatnonzero(prediction.scores >= min_score)[::-1]
    colours = {i: colour_of(int(prediction.labels[i])) for i in sure}
    pixels = _pixels(prediction)
    if prediction.masks is not None:
        for i in sure:  # the surest last, on top
            _tint(pixels, prediction.masks[i], colours[i])
    picture, factor = enlarge(Image.fromarray(pixels))
    for i in sure:
        text = f'{prediction.names[i]} {prediction.scores[i]:.2f}'
        box = tuple((prediction.boxes[i] * factor).tolist())
        _draw_box(picture, box, text, colours[i])
    return picture


@draw.register
def draw_label_map(prediction: LabelMap) -> Image.Image:
    """Draws each class in its colour, and the names of the largest."""
    pixels, rows = _pixels(prediction), []
    for label, share in prediction.shares().items():
        colour = colour_of(label)
        if prediction.palette is not None:
            colour = tuple(map(int, prediction.palette[label]))
        _tint(pixels, prediction.labels == label, colour)
        text = f'{prediction.names[label]} {share:.0%}'
        rows.append(Row(text, colour=colour))
    picture, _ = enlarge(Image.fromarray(pixels))
    return add_rows(picture, rows[:MAX_CLASSES])


@draw.register
def draw_choice(prediction: Choice) -> Image.Image:
    """Draws the likeliest answers as bars, below the question."""
    bars = [
        Row(f'{name} ({score:.2f})', share=score)
        for name, score in zip(prediction.names, prediction.scores)
    ]
    return _with_rows(prediction, bars)


@draw.register
def draw_caption(prediction: Caption) -> Image.Image:
    """Writes the caption below the image."""
    return _with_rows(prediction, [Row(prediction.caption)])


@draw.register
def draw_judgement(prediction: Judgement) -> Image.Image:
    """Writes the text and the judgement below both images."""
    share = max(prediction.score, 1 - prediction.score)
    return _with_rows(prediction, [Row(prediction.answer(), share=share)])


@draw.register
def draw_ranking(prediction: Ranking) -> Image.Image:
    """Draws the best candidates below what they were ranked for; images
    from left to right above it.
    """
    best = prediction.candidates[:SHOWN]
    rows = [
        Row(f'{i}. {_short(candidate)} ({cosine:.3f})', share=max(cosine, 0))
        for i, (candidate, cosine) in enumerate(
            zip(best, prediction.similarities), start=1
        )
    ]
    images = [x for x in best if isinstance(x, InputImage)]
    return _with_rows(prediction, rows, images)


def _with_rows(
    prediction: Prediction,
    rows: Sequence[Row],
    images: Sequence[InputImage] = (),
) -> Image.Image:
    """Puts the text and rows below the images, or others where it has none."""
    pictures = [x.to_pil() for x in prediction.images or images]
    if not pictures:
        pictures = [Image.new('RGB', (MIN_WIDTH, 1), 'white')]
    picture, _ = enlarge(pictures[0])
    if len(pictures) > 1:
        picture = put_beside(pictures, THUMBNAIL)
    asked = [] if prediction.text is None else [Row(prediction.text)]
    return add_rows(picture, [*asked, *rows])


def _pixels(prediction: Prediction) -> np.ndarray:
    return np.array(prediction.images[0].to_pil())


def _tint(pixels: np.ndarray, mask: np.ndarray, colour: Colour) -> None:
    """Mixes a colour into the pixels `(H, W, 3)` of a mask `(H, W)`."""
    mixed = (1 - OPACITY) * pixels[mask] + OPACITY * np.array(colour)
    pixels[mask] = mixed.astype(np.uint8)


def _draw_box(
    picture: Image.Image,
    box: tuple[float, float, float, float],
    text: str,
    colour: Colour,
) -> None:
    """Draws a box, xyxy in pixels, with a text at its top."""
    pen, font = ImageDraw.Draw(picture), font_for(picture.width)
    pen.rectangle(box, outline=colour, width=max(2, picture.width // 400))
    width, height = font.getlength(text) + 4, font.size + 4
    x = max(min(box[0], picture.width - width), 0)
    y = max(box[1] - height, 0)
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    bright = 0.3 * colour[0] + 0.6 * colour[1] + 0.1 * colour[2] > 128
    pen.text((x + 2, y), text, 'black' if bright else 'white', font)


def _short(candidate: InputImage | str) -> str:
    if isinstance(candidate, InputImage):
        return Path(candidate.name).name
    return candidate
