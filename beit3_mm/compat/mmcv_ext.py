# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Stands in for `mmcv._ext` where mmcv was installed without compiling.

It is run under that name, see `beit3_mm.compat.install`. NMS and RoIAlign
are torchvision's, soft-NMS is ours; every other operator raises an error when
it is called. The names and the order of arguments are mmcv's
(mmcv/ops/nms.py, mmcv/ops/roi_align.py).
"""

from collections.abc import Callable
from typing import NoReturn

import torch
import torchvision  # registers torch.ops.torchvision
from torch import Tensor

from beit3_mm.ops import batched_soft_nms

_SOFT_NMS_METHODS = ('naive', 'linear', 'gaussian')  # mmcv's numbers 0, 1, 2
_AVERAGE_POOLING = 1  # mmcv's number; 0 is max pooling


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Returns a function that raises; mmcv asks for all names at import."""
    if name.startswith('__'):
        raise AttributeError(name)

    def missing_operator(*args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(
            f"mmcv's operator '{name}' was called, but the installed mmcv has "
            'no compiled operators and beit3_mm replaces only nms, softnms '
            'and roi_align. Either compile mmcv beside the installed torch '
            '(pip install --no-build-isolation --no-cache-dir --no-deps '
            '--force-reinstall onedl-mmcv; needs a C++ compiler), or choose '
            f"a model that does without '{name}'."
        )

    return missing_operator


def nms(
    bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int
) -> Tensor:
    """Returns the indices of the kept boxes, best score first.

    Args:
        bboxes: (N, 4), xyxy in pixels.
        scores: (N,).
        iou_threshold: boxes that overlap a better one by more are dropped.
        offset: 1 if x2 and y2 are the last pixel inside, else 0.
    """
    return torchvision.ops.nms(
        _shift_end(_full_precision(bboxes), offset),
        _full_precision(scores),
        iou_threshold,
    )


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Returns the indices of the K picks and writes them into `dets[:K]`.

    Args:
        boxes: (N, 4), xyxy in pixels.
        scores: (N,).
        dets: (N, 5), is filled with boxes and decayed scores.
        iou_threshold: see `batched_soft_nms`, as for the next two.
        sigma: width of the gaussian.
        min_score: boxes whose current score is lower are dropped.
        method: 0 naive, 1 linear, 2 gaussian.
        offset: 1 if x2 and y2 are the last pixel inside, else 0.
    """
    picked, keep = batched_soft_nms(
        _shift_end(boxes, offset),
        scores,
        torch.zeros_like(scores, dtype=torch.long),
        iou_threshold=iou_threshold,
        sigma=sigma,
        min_score=min_score,
        method=_SOFT_NMS_METHODS[method],
    )
    dets[: len(keep), :4] = boxes[keep]
    dets[: len(keep), 4] = picked[:, 4]
    return keep


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Writes the pooled features into `output`.

    Args:
        input: (B, C, H, W).
        rois: (R, 5), index into the batch and xyxy in pixels of the image.
        output: (R, C, aligned_height, aligned_width), is filled.
        argmax_y: for max pooling, not used.
        argmax_x: for max pooling, not used.
        aligned_height: bins of the output.
        aligned_width: bins of the output.
        spatial_scale: size of the map / size of the image.
        sampling_ratio: samples a bin and side; 0 means one per cell.
        pool_mode: 1, average.
        aligned: whether pixel centres lie at half coordinates.
    """
    _check_average(pool_mode)
    output.copy_(
        torch.ops.torchvision.roi_align(
            _full_precision(input),
            _full_precision(rois),
            spatial_scale,
            aligned_height,
            aligned_width,
            sampling_ratio,
            aligned,
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Writes the gradient of the features into `grad_input` (B, C, H, W).

    `grad_output` is (R, C, aligned_height, aligned_width), everything else
    is as in `roi_align_forward`.
    """
    _check_average(pool_mode)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            _full_precision(grad_output),
            _full_precision(rois),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def _check_average(pool_mode: int) -> None:
    if pool_mode != _AVERAGE_POOLING:
        raise NotImplementedError(
            "RoIAlign(pool_mode='max') needs mmcv's compiled operators; "
            "use pool_mode='avg'."
        )


def _full_precision(tensor: Tensor) -> Tensor:
    # torchvision's CPU kernels know float32 and float64 only.
    return tensor.float() if tensor.element_size() < 4 else tensor


def _shift_end(boxes: Tensor, offset: int) -> Tensor:
    # A side of x2 - x1 + offset, for areas and intersections alike.
    return torch.cat([boxes[:, :2], boxes[:, 2:] + offset], 1)
