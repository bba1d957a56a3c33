# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from dataclasses import dataclass

from mmdet.structures.bbox import bbox_flip
from torch import Tensor


@dataclass(frozen=True)
class ViewFrame:
    """The pixels in which the boxes of a view are given.

    Args:
        width: width of the image in this frame, in pixels without padding.
        height: height of the same.
        flip: 'horizontal', 'vertical', 'diagonal' or None, the direction in
            which the view shows the image mirrored.
    """

    width: float
    height: float
    flip: str | None = None


def map_boxes(boxes: Tensor, source: ViewFrame, target: ViewFrame) -> Tensor:
    """Maps boxes from one frame to another; equal frames change no bit.

    Args:
        boxes: (N, 4k), xyxy in pixels of `source`.
        source: the frame of `boxes`.
        target: the frame of the result.

    Returns:
        (N, 4k), xyxy in pixels of `target`.
    """
    if source.flip == target.flip:
        return _resize_boxes(boxes, source, target)
    if source.flip is not None:
        size = (source.height, source.width)
        boxes = bbox_flip(boxes, size, source.flip)
    boxes = _resize_boxes(boxes, source, target)
    if target.flip is not None:
        size = (target.height, target.width)
        boxes = bbox_flip(boxes, size, target.flip)
    return boxes


def _resize_boxes(
    boxes: Tensor, source: ViewFrame, target: ViewFrame
) -> Tensor:
    scale = (target.width / source.width, target.height / source.height)
    return boxes * boxes.new_tensor(scale).repeat(boxes.shape[1] // 2)
