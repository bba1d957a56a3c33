# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What a config says of the data that its model was made for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DATASETS

from beit3_mm.apis.images import InputImage

TEXT_STEPS = ('TokenizeText', 'MaskText')


def build_pipeline(cfg: Config, image: bool, text: bool) -> Compose:
    """Builds the test pipeline for samples that come from no data set.

    Images are handed over as `img_path`, or `img_paths` of several, texts as
    `text`. Annotations are not loaded.

    Args:
        cfg: The config.
        image: Whether the samples have images.
        text: Whether they have a text.

    Raises:
        ValueError: If the config has no pipeline, or one that reads no images
            or no texts.
    """
    steps = test_dataset(cfg).get('pipeline')
    if not steps:
        raise ValueError(
            'the config has no test_dataloader.dataset.pipeline, which says '
            'what a model is shown: use the config of what is tested'
        )
    *steps, pack = (step.to_dict() for step in steps)
    if image and not _loads_images(steps):
        raise ValueError('the test pipeline has no beit3_mm.LoadImageFromFile')
    texts = [step for step in steps if _name(step) == 'TokenizeText']
    if text and not texts:
        raise ValueError('the test pipeline has no beit3_mm.TokenizeText')
    images = [
        new
        for step in steps
        if _name(step) not in TEXT_STEPS
        for new in _without_files(step)
    ]
    return Compose([*images * image, *texts * text, pack])


def _loads_images(steps: Iterable[dict]) -> bool:
    return any(
        _name(step).startswith('LoadImage')
        or _loads_images(step.get('transforms', ()))
        for step in steps
    )


def _without_files(step: dict) -> Iterator[dict | Callable]:
    """Yields what takes the place of a step that may read files."""
    name = _name(step)
    if name.startswith('LoadImage'):
        yield take_pixels
    elif name.startswith('Load'):  # annotations
        return
    elif 'transforms' in step:  # for each of several images
        inner = [new for x in step['transforms'] for new in _without_files(x)]
        yield {**step, 'transforms': inner}
    else:
        yield step


def take_pixels(results: dict) -> dict:
    """Does what `LoadImageFromFile` does, with an `InputImage`."""
    image: InputImage = results['img_path']
    results['img_path'] = image.name
    results['img'] = image.pixels()
    results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
    return results


def test_dataset(cfg: Config) -> Mapping[str, Any]:
    """Returns the test data set's config, without its wrappers; it is empty
    where there is none.
    """
    dataset = cfg.get('test_dataloader') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


def dataset_meta(cfg: Config, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Returns names (`classes`) and colours (`palette`) of the classes.

    The config's `metainfo` counts first, then what the checkpoint says of its
    training, then the class of the data set. No data set is read.

    Args:
        cfg: The config.
        checkpoint: What its file holds.
    """
    dataset, kind = test_dataset(cfg), None
    if 'type' in dataset:
        scope = cfg.get('default_scope')
        with DATASETS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(dataset['type'])
    for meta in (
        dataset.get('metainfo'),
        checkpoint.get('meta', {}).get('dataset_meta'),
        getattr(kind, 'METAINFO', None),
    ):
        if meta and meta.get('classes'):
            return dict(meta)
    return {}


def find_file(cfg: Config, key: str, *parts: str) -> Path:
    """Returns the first file that parts of a config name.

    Args:
        cfg: The config.
        key: Such as `answer_file`.
        *parts: Where it is looked for, in this order.

    Raises:
        ValueError: If it is nowhere.
        FileNotFoundError: If there is no such file.
    """
    for part in parts:
        for value in _values(cfg.get(part), key):
            if not Path(value).is_file():
                raise FileNotFoundError(
                    f'there is no file {value}, {key} in {part} of the config'
                )
            return Path(value)
    raise ValueError(f'the config has no {key} in {" or ".join(parts)}')


def _values(config: Any, key: str) -> Iterator[str]:
    """Yields the strings of a key at any depth."""
    if isinstance(config, Mapping):
        if isinstance(config.get(key), str):
            yield config[key]
        config = list(config.values())
    if isinstance(config, list | tuple):
        for value in config:
            yield from _values(value, key)


def _name(step: dict) -> str:
    return str(step['type']).rsplit('.', maxsplit=1)[-1]
