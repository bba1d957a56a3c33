# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from beit3_mm.ops import batched_soft_nms
from beit3_mm.registry import MODELS

# N boxes, C classes, K kept


@MODELS.register_module()
class SoftNMSBBoxHead(ConvFCBBoxHead):
    """mmdet's `ConvFCBBoxHead`, with a soft-NMS that stops at `max_per_img`.

    `test_cfg.rcnn.nms` chooses: `type='soft_nms'` is ours, every other type
    is mmdet's. mmdet's own way to `soft_nms` gives the same result, but works
    through all boxes of all classes before it takes the best `max_per_img`.
    Scores and boxes are float32 under autocast as well.

    ViTDet's head (4conv1fc) is `num_shared_convs=4, num_shared_fcs=1`.

    Example:
        >>> dict(
        ...     type='beit3_mm.SoftNMSBBoxHead',
        ...     num_shared_convs=4,
        ...     num_shared_fcs=1,
        ...     num_classes=80,
        ... )
        >>> rcnn = dict(
        ...     score_thr=0.0,
        ...     nms=dict(type='soft_nms', method='linear', iou_threshold=0.6),
        ...     max_per_img=100,
        ... )
    """

    def forward(self, x: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Returns class scores (N, C + 1) and box deltas (N, 4), float32."""
        scores, deltas = super().forward(x)
        return scores.float(), deltas.float()

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: ConfigDict | None = None,
    ) -> InstanceData:
        # Without a test configuration mmdet returns class-scored boxes.
        scored = super()._predict_by_feat_single(
            roi, cls_score, bbox_pred, img_meta, rescale, rcnn_test_cfg=None
        )
        if rcnn_test_cfg is None:
            return scored
        return select_boxes(scored.bboxes, scored.scores, rcnn_test_cfg)


def select_boxes(
    boxes: Tensor, scores: Tensor, test_cfg: ConfigDict
) -> InstanceData:
    """Applies score threshold, NMS in each class and `max_per_img`.

    Args:
        boxes: (N, 4), or (N, C * 4) if each class has its own, xyxy.
        scores: (N, C + 1), the last column is the background.
        test_cfg: a detector's `test_cfg.rcnn`.

    Returns:
        `bboxes` (K, 4), `scores` (K,) and `labels` (K,), best first.

    Raises:
        ValueError: If `nms` asks soft-NMS to ignore the classes.
    """
    options = dict(test_cfg.nms)
    if options.pop('type', 'nms') != 'soft_nms':
        dets, labels = multiclass_nms(
            boxes,
            scores,
            test_cfg.score_thr,
            test_cfg.nms,
            test_cfg.max_per_img,
        )
    else:
        if options.pop('class_agnostic', False):
            raise ValueError(
                f'nms={dict(test_cfg.nms)}: soft_nms works in each class; '
                'leave class_agnostic out'
            )
        options.pop('split_thr', None)  # mmcv's, against a lack of memory
        scores = scores[:, :-1]  # (N, C)
        index, labels = (scores > test_cfg.score_thr).nonzero(as_tuple=True)
        num_boxes, num_coordinates = boxes.shape
        boxes = boxes.reshape(num_boxes, num_coordinates // 4, 4)
        boxes = boxes.expand(-1, scores.shape[1], 4)  # (N, C, 4)
        dets, keep = batched_soft_nms(
            boxes[index, labels],
            scores[index, labels],
            labels,
            max_num=test_cfg.max_per_img,
            **options,
        )
        labels = labels[keep]
    return InstanceData(bboxes=dets[:, :4], scores=dets[:, 4], labels=labels)
