# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from mmdet.datasets.transforms import Pad

from beit3_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SquarePad(Pad):
    """Pads a test image to a square and keeps `img_shape`.

    mmdet's `Pad` sets it to the padded size, up to which boxes and proposals
    then reach; detectron2, whose ViTDet pads to a square too, clips them to
    the image.

    Args:
        pad_val: As of mmdet's `Pad`.

    Example:
        >>> dict(type='beit3_mm.SquarePad', pad_val=dict(img=(128, 128, 128)))
    """

    def __init__(self, pad_val: dict) -> None:
        super().__init__(pad_to_square=True, pad_val=pad_val)

    def transform(self, results: dict) -> dict:
        """Pads right and below; `pad_shape` is the new size."""
        img_shape = results['img_shape']
        results = super().transform(results)
        results['img_shape'] = img_shape
        return results
