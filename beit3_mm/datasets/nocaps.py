# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""NoCaps: images to be described, of things that COCO does not have."""

from typing import Any

from beit3_mm.datasets.annotation_files import add_once, get_field, read_json
from beit3_mm.datasets.vision_language import VisionLanguageDataset
from beit3_mm.registry import DATASETS


@DATASETS.register_module()
class NoCapsDataset(VisionLanguageDataset):
    """Reads `nocaps_val_4500_captions.json` or `nocaps_test_image_info.json`.

    One sample for each image: `img_path`, `image_id`, and, where the file
    has them, `domain` (how much of COCO is in the image) and `captions`, the
    references; those of the test images are not public. NoCaps is for
    evaluation; COCO's `captions_*.json` have the same format.

    Args:
        ann_file: The file.
        **kwargs: Arguments of mmengine's `BaseDataset`; images lie in
            `data_prefix['img_path']`.

    Raises:
        FileNotFoundError: If the file or the folder of images is missing.
        ValueError: If the file is another one, an image is listed twice, a
            caption is of an image that is not listed, or only some images
            have captions.

    Example:
        >>> dict(
        ...     type='beit3_mm.NoCapsDataset',
        ...     data_root='data/nocaps/',
        ...     ann_file='nocaps_val_4500_captions.json',
        ...     data_prefix=dict(img_path='val/'),
        ...     test_mode=True,
        ... )
    """

    def __init__(self, ann_file: str, **kwargs: Any) -> None:
        super().__init__(ann_file=ann_file, **kwargs)

    def read_samples(self) -> list[dict]:
        """Reads the images and their captions."""
        content = read_json(self.ann_file)
        images = get_field(content, 'images', list, self.ann_file)
        samples: dict[int, dict] = {}
        places: dict[int, str] = {}
        for number, image in enumerate(images):
            where = f'{self.ann_file}, images[{number}]'
            image_id = get_field(image, 'id', int, where)
            add_once(places, image_id, 'image id', where)
            name = get_field(image, 'file_name', str, where)
            samples[image_id] = dict(
                img_path=self.image_path(name), image_id=image_id
            )
            if 'domain' in image:
                domain = get_field(image, 'domain', str, where)
                samples[image_id]['domain'] = domain
        if 'annotations' in content:
            self._add_captions(samples, content)
        return list(samples.values())

    def _add_captions(self, samples: dict[int, dict], content: dict) -> None:
        captions: dict[int, list[str]] = {image_id: [] for image_id in samples}
        annotations = get_field(content, 'annotations', list, self.ann_file)
        for number, annotation in enumerate(annotations):
            where = f'{self.ann_file}, annotations[{number}]'
            image_id = get_field(annotation, 'image_id', int, where)
            caption = get_field(annotation, 'caption', str, where)
            if image_id not in captions:
                raise ValueError(
                    f'{where}: the caption {caption!r:.60} is of image '
                    f'{image_id}, which the file does not list'
                )
            captions[image_id].append(caption)
        without = [i for i, texts in captions.items() if not texts]
        if without:
            raise ValueError(
                f'{self.ann_file}: {len(without)} of {len(samples)} images '
                f'have no caption, such as the images {without[:5]}'
            )
        for image_id, texts in captions.items():
            samples[image_id]['captions'] = texts
