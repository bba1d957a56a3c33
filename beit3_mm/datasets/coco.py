# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmdet.datasets import Objects365V2Dataset as MMDetObjects365V2Dataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log

from beit3_mm.datasets.run_lengths import covered_pixels
from beit3_mm.datasets.seeding import SampleError
from beit3_mm.registry import DATASETS


class CheckedAnnotations:
    """Errors that name the file, for mmdet's data sets in COCO's format.

    The annotation file is checked when it is read, not hours later:

    - what is no COCO file, a box that is not four finite numbers, a polygon
      that is not a list of finite numbers (mmdet hangs on NaN), a run-length
      mask that does not fit its image, no mask at all where masks are loaded,
      and classes that the file does not have, or has in another order (mmdet
      shifts the labels), are errors, as is a missing folder of images;
    - annotations of a category or an image that the file does not list are
      left out, and those without a mask, in a file that has masks, are
      ignored where masks are loaded; the log says how many;
    - as in mmdet, boxes that are empty or outside of the image are left out,
      polygons of less than three points are ignored, and an image without
      annotations is one without objects (`filter_cfg` drops it).
    """

    def COCOAPI(self, path: str) -> COCO:  # the host's name
        """Reads and checks the annotation file, for `load_data_list`.

        Raises:
            ValueError: If the file cannot be used as it is.
            FileNotFoundError: If there is no such file, or no folder of
                images.
        """
        try:
            coco = COCO(path)
        # What json, pycocotools and its index raise on other content.
        except (ValueError, AssertionError, KeyError, TypeError) as error:
            raise ValueError(
                f'{self.ann_file} is not a COCO annotation file: '
                f'{type(error).__name__}: {error}'
            ) from error
        folder = self.data_prefix.get('img') or '.'
        if self.backend_args is None and not Path(folder).is_dir():
            raise FileNotFoundError(
                f'{self.ann_file}: there is no folder {folder} of its images; '
                'set data_root and data_prefix=dict(img=...)'
            )
        _check_images(coco, self.ann_file)
        _check_annotations(coco, self.ann_file)
        _check_classes(coco, self.ann_file, self.metainfo['classes'])
        _say_what_is_left_out(coco, self.ann_file)
        steps = self.pipeline.transforms
        loads_masks = any(getattr(step, 'with_mask', False) for step in steps)
        _mark_missing_masks(coco, self.ann_file, loads_masks)
        return coco

    def filter_data(self) -> list[dict]:
        """Applies `filter_cfg`.

        Raises:
            ValueError: If no image is left.
        """
        data_list = super().filter_data()
        if not data_list:
            raise ValueError(
                f'{self.ann_file}: of {len(self.data_list)} images none is '
                f'left by filter_cfg={self.filter_cfg}'
            )
        return data_list

    def prepare_data(self, idx: int) -> Any:
        """Runs the transforms of a sample.

        Raises:
            SampleError: If one of them fails; names the image.
        """
        try:
            return super().prepare_data(idx)
        except Exception as error:
            path = self.get_data_info(idx)['img_path']
            raise SampleError(
                f'{path}: {type(error).__name__}: {error}'
            ) from error


@DATASETS.register_module()
class CocoDataset(CheckedAnnotations, MMDetCocoDataset):
    """mmdet's `CocoDataset` with `CheckedAnnotations`.

    Example:
        >>> dict(
        ...     type='beit3_mm.CocoDataset',
        ...     ann_file='annotations/instances_val2017.json',
        ...     data_root='data/coco/',
        ...     data_prefix=dict(img='val2017/'),
        ...     test_mode=True,
        ...     pipeline=[dict(type='beit3_mm.LoadImageFromFile')],
        ... )
    """


@DATASETS.register_module()
class Objects365V2Dataset(CheckedAnnotations, MMDetObjects365V2Dataset):
    """mmdet's `Objects365V2Dataset` with `CheckedAnnotations`."""


def _check_images(coco: COCO, ann_file: str) -> None:
    for key in ('images', 'categories'):
        if key not in coco.dataset:
            raise ValueError(
                f'{ann_file} is not a COCO annotation file: it has no {key!r}'
            )
    for image in coco.dataset['images']:
        for key in ('file_name', 'height', 'width'):
            if key not in image:
                raise ValueError(f'{ann_file}: image {image} has no {key!r}')


def _check_annotations(coco: COCO, ann_file: str) -> None:
    faults = []
    for annotation in coco.anns.values():
        image = coco.imgs.get(annotation['image_id'], {})
        fault = _find_fault(annotation, image)
        if fault is not None:
            name = image.get('file_name', f'image {annotation["image_id"]}')
            faults.append(f'annotation {annotation["id"]} ({name}) {fault}')
    if faults:
        raise ValueError(
            f'{ann_file}: {len(faults)} annotations cannot be used: '
            + '; '.join(faults[:5])
        )


def _find_fault(annotation: dict, image: dict) -> str | None:
    """Says what makes an annotation unusable; None if nothing does."""
    box = annotation.get('bbox')
    if not (isinstance(box, list) and len(box) == 4 and _all_finite(box)):
        return f'has bbox={box}, not four finite numbers [x, y, w, h]'
    area = annotation.get('area')
    if not _all_finite([area]):
        return f'has area={area}, not a finite number'
    mask = annotation.get('segmentation')
    if isinstance(mask, dict):
        size = [image.get('height'), image.get('width')]
        if image and mask.get('size') != size:
            return f'has a mask of size {mask.get("size")}, its image {size}'
        pixels = covered_pixels(mask.get('counts'))
        if image and pixels != math.prod(size):
            return (
                f'has a run-length mask of {pixels or "no"} pixels, its image '
                f'{math.prod(size)}'
            )
    elif mask and not (
        isinstance(mask, list)
        and all(isinstance(p, list) and _all_finite(p) for p in mask)
    ):
        return 'has a segmentation that is not lists of finite numbers'
    return None


def _all_finite(values: list) -> bool:
    try:
        return math.isfinite(sum(values))
    except TypeError:  # not a number
        return False


def _check_classes(coco: COCO, ann_file: str, classes: Sequence[str]) -> None:
    names = [category['name'] for category in coco.dataset['categories']]
    missing = [name for name in classes if name not in names]
    if missing:
        raise ValueError(
            f'{ann_file} has no categories {missing}; it has {names}. Set '
            "the dataset's metainfo=dict(classes=(...)) and the heads' "
            'num_classes accordingly'
        )
    ordered = [name for name in names if name in classes]
    if ordered != list(classes):
        raise ValueError(
            f'{ann_file} has its categories in another order than '
            f'metainfo=dict(classes=(...)); labels follow the file: {ordered}'
        )


def _say_what_is_left_out(coco: COCO, ann_file: str) -> None:
    for key, known, name in (
        ('category_id', coco.cats, 'categories'),
        ('image_id', coco.imgs, 'images'),
    ):
        ids = [annotation[key] for annotation in coco.anns.values()]
        unknown = [i for i in ids if i not in known]
        if unknown:
            some = sorted(set(unknown))[:10]
            _warn(
                f'{ann_file}: left out {len(unknown)} of {len(ids)} '
                f'annotations, whose {key}s {some} are not among the '
                f"file's {name}"
            )


def _mark_missing_masks(coco: COCO, ann_file: str, loads_masks: bool) -> None:
    missing = [a for a in coco.anns.values() if not a.get('segmentation')]
    if not missing:
        return
    if len(missing) == len(coco.anns):
        if loads_masks:
            raise ValueError(
                f'{ann_file} holds boxes alone: none of its {len(missing)} '
                'annotations has a segmentation. Load them with '
                'with_mask=False, by a detector without mask_head'
            )
        return
    for annotation in missing:
        # An empty polygon is what mmdet's LoadAnnotations ignores.
        annotation['segmentation'] = [[]]
    _warn(
        f'{ann_file}: {len(missing)} of {len(coco.anns)} annotations have no '
        'segmentation; where masks are loaded, they are ignored'
    )


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
