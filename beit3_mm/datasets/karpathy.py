# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""COCO and Flickr30K in Karpathy's splits: retrieval and captioning."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from beit3_mm.datasets.annotation_files import add_once, get_field, read_json
from beit3_mm.datasets.vision_language import VisionLanguageDataset
from beit3_mm.registry import DATASETS

TASKS = ('retrieval', 'caption')
ID_KEYS = ('cocoid', 'imgid')  # Flickr30K has the second only


@DATASETS.register_module()
class KarpathyDataset(VisionLanguageDataset):
    """Reads `dataset_coco.json` or `dataset_flickr30k.json`.

    Training has one sample for each sentence: `img_path`, `image_id`,
    `text`. Evaluation (`test_mode=True`) has one for each image: for
    retrieval with all its sentences as `text`, a list; for captioning with
    its sentences as `captions`, the references, and no text. As in the
    official code (unilm/beit3, datasets.py), all sentences of an image
    count, which are six or seven for a few images of COCO.

    Args:
        ann_file: Karpathy's file.
        split: 'train', 'restval' (COCO only), 'val' or 'test', or several
            of them; COCO is trained on ('train', 'restval').
        task: 'retrieval' or 'caption'; what an evaluation needs.
        **kwargs: Arguments of mmengine's `BaseDataset`. Images lie below
            `data_prefix['img_path']`, COCO's in `train2014/` and `val2014/`.

    Raises:
        FileNotFoundError: If the file or a folder of images is missing.
        ValueError: If `task` is unknown, the file is another one or has no
            such split, an image is listed twice, or, in evaluation, an image
            has no sentences.

    Example:
        >>> dict(
        ...     type='beit3_mm.KarpathyDataset',
        ...     data_root='data/coco/',
        ...     ann_file='dataset_coco.json',
        ...     split=['train', 'restval'],
        ... )
    """

    def __init__(
        self,
        ann_file: str,
        split: str | Sequence[str] = 'train',
        task: str = 'retrieval',
        **kwargs: Any,
    ) -> None:
        if task not in TASKS:
            raise ValueError(f'{task=} must be one of {TASKS}')
        self.splits = (split,) if isinstance(split, str) else tuple(split)
        self.task = task
        super().__init__(ann_file=ann_file, **kwargs)

    def read_samples(self) -> list[dict]:
        """Reads the images of the splits."""
        content = read_json(self.ann_file)
        images = get_field(content, 'images', list, self.ann_file)
        samples, places = [], {}
        found: Counter[str] = Counter()
        for number, image in enumerate(images):
            where = f'{self.ann_file}, images[{number}]'
            split = get_field(image, 'split', str, where)
            found[split] += 1
            if split in self.splits:
                samples += self._read_image(image, where, places)
        missing = [split for split in self.splits if not found[split]]
        if missing:
            raise ValueError(
                f'{self.ann_file} has no image of split {missing}; it has '
                f'{dict(found)}'
            )
        return samples

    def _read_image(
        self, image: dict, where: str, places: dict[int, str]
    ) -> list[dict]:
        key = next((key for key in ID_KEYS if key in image), ID_KEYS[0])
        image_id = get_field(image, key, int, where)
        add_once(places, image_id, key, where)
        name = get_field(image, 'filename', str, where)
        folder = ''
        if 'filepath' in image:
            folder = get_field(image, 'filepath', str, where)
        path = self.image_path(folder, name)
        captions = [
            get_field(sentence, 'raw', str, where)
            for sentence in get_field(image, 'sentences', list, where)
        ]
        common = dict(img_path=path, image_id=image_id)
        if not self.test_mode:
            return [dict(common, text=text) for text in captions]
        if not captions:
            raise ValueError(
                f'{where}: {name} has no sentences to evaluate with'
            )
        field = 'text' if self.task == 'retrieval' else 'captions'
        return [{**common, field: captions}]
