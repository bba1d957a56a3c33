# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What tasks have in common: questions, batches, and the rules of pairing."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mmengine.structures import BaseDataElement
from torch import nn

from beit3_mm.apis.images import InputImage
from beit3_mm.apis.predictions import Prediction

Images = Sequence[InputImage]
Texts = Sequence[str]


@dataclass(frozen=True)
class Query:
    """A sample: images, a text, or both.

    Args:
        images: The images.
        text: The text, or None.
    """

    images: tuple[InputImage, ...]
    text: str | None = None

    def to_results(self, number: int) -> dict[str, Any]:
        """Returns what a pipeline starts from; mmdet wants an `img_id`."""
        results = {'img_id': number}
        if len(self.images) == 1:
            results['img_path'] = self.images[0]
        elif self.images:
            results['img_paths'] = list(self.images)
        if self.text is not None:
            results['text'] = self.text
        return results


class Batch(NamedTuple):
    """Samples behind the data preprocessor.

    Args:
        queries: What was asked, B samples.
        inputs: For the model.
        samples: Data samples.
    """

    queries: list[Query]
    inputs: Any
    samples: list[BaseDataElement]


class Task(ABC):
    """What a kind of model is asked, and what it answers.

    Args:
        model: The model, with `cfg` and `dataset_meta`, as of `init_model`.
    """

    gives_embeddings = False

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @abstractmethod
    def queries(self, images: Images, texts: Texts) -> list[Query]:
        """Makes samples of images and texts.

        Raises:
            ValueError: If they are not what the task takes.
        """

    @abstractmethod
    def predict(self, batches: Iterator[Batch]) -> Iterator[Prediction]:
        """Yields the predictions for all batches."""


def images_alone(images: Images, texts: Texts, task: str) -> list[Query]:
    """Makes a sample of each image.

    Raises:
        ValueError: If there is no image, or a text.
    """
    require_images(images, task)
    if texts:
        raise ValueError(
            f'{task} takes images only, but there is the text {texts[0]!r}'
        )
    return [Query((image,)) for image in images]


def pair(
    groups: Sequence[tuple[InputImage, ...]], texts: Texts, task: str
) -> list[Query]:
    """Puts groups of images and texts together: as many of both in their
    order, one text with all groups, or all texts with one group.

    Raises:
        ValueError: If there is no text, or numbers do not fit.
    """
    if not texts:
        raise ValueError(f'{task} needs a text: give --text, or `texts`')
    if len(groups) == 1:
        groups = list(groups) * len(texts)
    if len(texts) == 1:
        texts = list(texts) * len(groups)
    if len(groups) != len(texts):
        kind = 'images' if len(groups[0]) == 1 else 'pairs of images'
        raise ValueError(
            f'{len(groups)} {kind} do not fit {len(texts)} texts: {task} '
            'takes as many of both, or only one of either'
        )
    return [Query(group, text) for group, text in zip(groups, texts)]


def require_images(images: Images, task: str) -> None:
    """Raises a ValueError if there is no image."""
    if not images:
        raise ValueError(f'{task} needs an image')


def class_name(meta: Mapping[str, Any], label: int) -> str:
    """Returns the name of a class, or its number where none are known.

    Args:
        meta: `dataset_meta` of a model.
        label: Number of the class.

    Raises:
        ValueError: If there are names, but none for this class.
    """
    classes = meta.get('classes')
    if not classes:
        return f'class {label}'
    if label >= len(classes):
        raise ValueError(
            f'the model predicts class {label}, but the config has names for '
            f'{len(classes)} classes: set metainfo.classes of the test data '
            'set to those that the model was trained with'
        )
    return classes[label]
