# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from collections.abc import Sequence
from typing import Any

from mmengine.config import ConfigDict
from mmseg.models.decode_heads import Mask2FormerHead as MMSegMask2FormerHead
from mmseg.structures import SegDataSample
from torch import Tensor

from beit3_mm.registry import MODELS


@MODELS.register_module()
class Mask2FormerHead(MMSegMask2FormerHead):
    """mmseg's `Mask2FormerHead`, whose windows keep their own size.

    mmseg's resizes the masks of a sliding window to `pad_shape`, the size of
    the whole padded image, and then fails to put the window into its place.

    Args:
        num_classes: Number of classes, at least 2.
        in_channels: Channels of the backbone's maps.
        loss_cls: The loss of the classes; its `class_weight` has one more,
            for "no object".
        **kwargs: What else mmseg's head takes; `configs/_base_/models/
            mask2former_adapter.py` has it all.

    Raises:
        ValueError: If `class_weight` does not fit `num_classes`, or there is
            only one class, of which mmseg makes no map.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        loss_cls: ConfigDict,
        **kwargs: Any,
    ) -> None:
        if num_classes < 2:
            raise ValueError(
                f'{num_classes=} must be 2 or more: of one kind of object, '
                'the background is the other class'
            )
        weights = len(loss_cls['class_weight'])
        if weights != num_classes + 1:
            raise ValueError(
                f'loss_cls.class_weight has {weights} values, but '
                f'{num_classes=} needs {num_classes + 1}: one of each class '
                'and one of no object, [1.0] * num_classes + [0.1]'
            )
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            loss_cls=loss_cls,
            **kwargs,
        )
        self.in_channels = list(in_channels)

    def forward(
        self, x: tuple[Tensor, ...], batch_data_samples: list[SegDataSample]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the scores (B, Q, C + 1) and masks (B, Q, h, w) of all
        decoder layers.

        Raises:
            ValueError: If the maps have other channels than `in_channels`.
        """
        channels = [map_.shape[1] for map_ in x]
        if channels != self.in_channels:
            raise ValueError(
                f'decode_head.in_channels={self.in_channels}, but the maps '
                f'of the backbone have {channels} channels'
            )
        return super().forward(x, batch_data_samples)

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
