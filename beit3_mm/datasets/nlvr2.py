# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""NLVR2: sentences that are true or false of two images."""

from typing import Any

from beit3_mm.datasets.annotation_files import (
    add_once,
    get_field,
    read_json_lines,
)
from beit3_mm.datasets.vision_language import VisionLanguageDataset
from beit3_mm.registry import DATASETS

LABELS = {'False': 0, 'True': 1}


@DATASETS.register_module()
class NLVR2Dataset(VisionLanguageDataset):
    """Reads `train.json`, `dev.json` or `test1.json`: one object a line.

    A sample is `img_paths` (left, right), `text`, `identifier` and
    `gt_label` (1 = true), which only an evaluation may lack. The images of
    `train-10171-0-2` are `train-10171-0-img0.png` and `-img1.png`, below
    `data_prefix['img_path']`; those of the training set lie there in the
    numbered folder of its `directory`.

    Args:
        ann_file: The file.
        **kwargs: Arguments of mmengine's `BaseDataset`.

    Raises:
        FileNotFoundError: If the file or a folder of images is missing.
        ValueError: If a line is not as it should be, or an identifier is
            there twice.

    Example:
        >>> dict(
        ...     type='beit3_mm.NLVR2Dataset',
        ...     data_root='data/nlvr2/',
        ...     ann_file='nlvr/nlvr2/data/train.json',
        ...     data_prefix=dict(img_path='images/train/'),
        ... )
    """

    METAINFO = dict(classes=tuple(LABELS))

    def __init__(self, ann_file: str, **kwargs: Any) -> None:
        super().__init__(ann_file=ann_file, **kwargs)

    def read_samples(self) -> list[dict]:
        """Reads the lines."""
        places: dict[str, str] = {}
        return [
            self._read_line(record, where, places)
            for where, record in read_json_lines(self.ann_file)
        ]

    def _read_line(
        self, record: dict, where: str, places: dict[str, str]
    ) -> dict:
        identifier = get_field(record, 'identifier', str, where)
        add_once(places, identifier, 'identifier', where)
        # the sentence's number comes last
        pair, hyphen, _ = identifier.rpartition('-')
        if not hyphen:
            raise ValueError(
                f'{where}: identifier {identifier!r} is not like '
                "'dev-12-0-1', from which the images' names are made"
            )
        folder = ()
        if 'directory' in record:
            number = get_field(record, 'directory', (int, str), where)
            folder = (str(number),)
        sample = dict(
            img_paths=[
                self.image_path(*folder, f'{pair}-img{i}.png') for i in (0, 1)
            ],
            text=get_field(record, 'sentence', str, where),
            identifier=identifier,
        )
        if 'label' in record or not self.test_mode:
            label = get_field(record, 'label', str, where)
            if label not in LABELS:
                raise ValueError(
                    f"{where}: label {label!r} must be 'True' or 'False'"
                )
            sample['gt_label'] = LABELS[label]
        return sample
