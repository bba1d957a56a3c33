# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What a model says of images and texts, one class for each kind of answer.

Each has a line for people, values for JSON, and, where the model gives them,
embeddings (`stack_embeddings`); `drawing.draw` makes a picture of it.

H, W height and width of the image as it was given, C classes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from beit3_mm.apis.images import InputImage

SHOWN = 5  # of a longer list, in lines and pictures


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """What all have in common.

    Args:
        images: What the model was shown; none for a text alone.
        text: What it was told, or None.
        embeddings: Rows `(D,)` by their kind: `image`, `text`, `fused`, and
            the image's `similarities` with all texts or class names.
    """

    images: tuple[InputImage, ...]
    text: str | None = None
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name for files, without a folder."""
        return Path(self.images[0].name).stem if self.images else 'text'

    def summary(self) -> str:
        """Says it in a line."""
        names = [image.name for image in self.images]
        texts = [] if self.text is None else [repr(self.text)]
        return f'{", ".join(names + texts)}: {self.answer()}'

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, for JSON."""
        asked = {'images': [image.name for image in self.images]}
        if self.text is not None:
            asked['text'] = self.text
        return asked | self._values()

    def answer(self) -> str:
        """Says it without what was asked."""
        raise NotImplementedError

    def _values(self) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True, eq=False, kw_only=True)
class Detections(Prediction):
    """Objects, the surest first.

    Args:
        boxes: `(n, 4)` float32, xyxy in pixels.
        scores: `(n,)` float32.
        labels: `(n,)` int64.
        names: Their classes' names.
        masks: `(n, H, W)` bool, or None of a detector of boxes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: list[str]
    masks: np.ndarray | None

    def answer(self) -> str:
        found = [f'{n} {s:.2f}' for n, s in zip(self.names, self.scores)]
        more = ', ...' if len(found) > SHOWN else ''
        listed = ', '.join(found[:SHOWN]) + more
        return f'{len(found)} objects' + (f': {listed}' if found else '')

    def _values(self) -> dict[str, Any]:
        objects = [
            {'name': name, 'label': label, 'score': score, 'box': box}
            for name, label, score, box in zip(
                self.names,
                self.labels.tolist(),
                self.scores.tolist(),
                self.boxes.tolist(),
            )
        ]
        if self.masks is not None:  # as in COCO's result format
            for item, mask in zip(objects, self.masks):
                rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
                item['mask'] = rle | {'counts': rle['counts'].decode()}
        return {'objects': objects}


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelMap(Prediction):
    """The class of each pixel.

    Args:
        labels: `(H, W)` int64.
        names: Names of the classes in it.
        palette: Colours of all classes `(C, 3)`, RGB from 0 to 255, or None.
    """

    labels: np.ndarray
    names: dict[int, str]
    palette: np.ndarray | None = None

    def shares(self) -> dict[int, float]:
        """Returns the share of the image of each class, largest first."""
        labels, counts = np.unique(self.labels, return_counts=True)
        order = np.argsort(-counts, kind='stable')
        return {int(labels[i]): counts[i] / self.labels.size for i in order}

    def answer(self) -> str:
        shares = [f'{self.names[i]} {s:.0%}' for i, s in self.shares().items()]
        more = ', ...' if len(shares) > SHOWN else ''
        return ', '.join(shares[:SHOWN]) + more

    def _values(self) -> dict[str, Any]:
        shares = self.shares().items()
        return {'shares': {self.names[i]: share for i, share in shares}}


@dataclass(frozen=True, eq=False, kw_only=True)
class Choice(Prediction):
    """An answer or a class, the likeliest first.

    Args:
        names: The likeliest ones.
        scores: How likely they are, from 0 to 1.
    """

    names: list[str]
    scores: list[float]

    def answer(self) -> str:
        return f'{self.names[0]} ({self.scores[0]:.2f})'

    def _values(self) -> dict[str, Any]:
        return {'names': self.names, 'scores': self.scores}


@dataclass(frozen=True, eq=False, kw_only=True)
class Caption(Prediction):
    """A description.

    Args:
        caption: The description.
    """

    caption: str

    def answer(self) -> str:
        return self.caption or '(no words)'

    def _values(self) -> dict[str, Any]:
        return {'caption': self.caption}


@dataclass(frozen=True, eq=False, kw_only=True)
class Judgement(Prediction):
    """Whether a text about two images is true.

    Args:
        score: How likely it is true, from 0 to 1.
    """

    score: float

    @property
    def is_true(self) -> bool:
        """Whether it is rather true than false."""
        return self.score > 0.5

    def answer(self) -> str:
        if self.is_true:
            return f'true ({self.score:.2f})'
        return f'false ({1 - self.score:.2f})'

    def _values(self) -> dict[str, Any]:
        return {'is_true': self.is_true, 'score': self.score}


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranking(Prediction):
    """Images in the order in which they fit a text, or texts an image.

    Args:
        indices: Numbers of the candidates in the order of the call, the best
            first.
        candidates: Those images or texts.
        similarities: The cosines of their embeddings with the one asked for.
    """

    indices: list[int]
    candidates: list[InputImage | str]
    similarities: list[float]

    def answer(self) -> str:
        ranked = [
            f'{i}. {candidate!r} ({similarity:.3f})'
            for i, (candidate, similarity) in enumerate(
                zip(self.candidates, self.similarities), start=1
            )
        ]
        more = ', ...' if len(ranked) > SHOWN else ''
        return ', '.join(ranked[:SHOWN]) + more or 'embedded'

    def _values(self) -> dict[str, Any]:
        return {
            'indices': self.indices,
            'candidates': [str(candidate) for candidate in self.candidates],
            'similarities': self.similarities,
        }
