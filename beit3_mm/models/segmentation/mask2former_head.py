# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from mmengine.config import ConfigDict
from mmseg.models.decode_heads import Mask2FormerHead as MMSegMask2FormerHead
from torch import Tensor

from beit3_mm.registry import MODELS


@MODELS.register_module()
class Mask2FormerHead(MMSegMask2FormerHead):
    """mmseg's `Mask2FormerHead`, whose windows keep their own size.

    mmseg's resizes the masks of a sliding window to `pad_shape`, the size of
    the whole padded image, and then fails to put the window into its place.

    Takes the arguments of mmseg's head; `configs/_base_/models/
    mask2former_adapter.py` has them all.
    """

    def predict(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        test_cfg: ConfigDict,
    ) -> Tensor:
        """Returns scores (B, C, H, W), the sum over queries of class x mask.

        H and W are those of the window with `test_cfg.mode='slide'`, else of
        the padded image.
        """
        if test_cfg.get('mode') == 'slide':
            # mmseg notes a window's size in the first image's `img_shape`.
            size = batch_img_metas[0]['img_shape'][:2]
            batch_img_metas = [
                {**meta, 'pad_shape': size} for meta in batch_img_metas
            ]
        return super().predict(x, batch_img_metas, test_cfg)
