# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from collections.abc import Sequence
from dataclasses import replace

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.model import BaseTTAModel
from torch import Tensor, nn

from beit3_mm.models.detection.soft_nms_bbox_head import select_boxes
from beit3_mm.models.detection.view_frame import ViewFrame, map_boxes
from beit3_mm.registry import MODELS

# N boxes, K kept, C classes, S side of a mask

_FLIPPED_DIMS = {'horizontal': [3], 'vertical': [2], 'diagonal': [2, 3]}


@MODELS.register_module()
class InstanceTTAModel(BaseTTAModel):
    """Test-time augmentation of the boxes and masks of a two-stage detector.

    1. Each view (a scale, flipped or not) goes through the whole cascade. Its
       class-scored boxes, without NMS, are mapped to one common frame.
    2. The boxes of all views together go through the detector's own
       `test_cfg.rcnn` once: score threshold, NMS, `max_per_img`.
    3. The boxes that are kept are mapped into every view, whose features were
       kept from step 1; the mask probabilities of all views (and stages) are
       averaged and pasted once.

    The common frame is that of the first view, without its flip, or the
    original image for a detector without masks: there mmdet runs NMS as well,
    and so one unflipped view gives exactly the detector's plain result.

    It wraps a `TwoStageDetector` with a `CascadeRoIHead` or a
    `StandardRoIHead`, with or without masks. Flips must come after the resize
    and before any padding.

    Example:
        >>> tta_model = dict(type='beit3_mm.InstanceTTAModel')
        >>> tta_pipeline = [
        ...     dict(type='beit3_mm.LoadImageFromFile'),
        ...     dict(
        ...         type='TestTimeAug',
        ...         transforms=[
        ...             [
        ...                 dict(type='mmdet.Resize', scale=s, keep_ratio=True)
        ...                 for s in [(1024, 1024), (1280, 1280)]
        ...             ],
        ...             [
        ...                 dict(type='mmdet.RandomFlip', prob=0.0),
        ...                 dict(type='mmdet.RandomFlip', prob=1.0),
        ...             ],
        ...             [dict(type='mmdet.PackDetInputs')],
        ...         ],
        ...     ),
        ... ]
    """

    def __init__(
        self,
        module: dict | nn.Module,
        data_preprocessor: dict | nn.Module | None = None,
    ) -> None:
        super().__init__(module, data_preprocessor)
        roi_head = getattr(self.module, 'roi_head', None)
        # Subclasses predict masks in ways of their own.
        if not isinstance(self.module, TwoStageDetector) or type(
            roi_head
        ) not in (CascadeRoIHead, StandardRoIHead):
            raise TypeError(
                'InstanceTTAModel needs a TwoStageDetector with a '
                'CascadeRoIHead or StandardRoIHead, got '
                f'{type(self.module).__name__} with {type(roi_head).__name__}'
            )

    @torch.no_grad()
    def test_step(self, data: dict) -> list[DetDataSample]:
        """Detects the objects of a batch of images from all their views.

        Args:
            data: `inputs` and `data_samples`, each a list over views of
                lists over images, as `TestTimeAug` and the collate function
                give them.

        Returns:
            For each image the data sample of its first view, with
            `pred_instances` in pixels of the original image.
        """
        features, views = [], []
        for inputs, samples in zip(data['inputs'], data['data_samples']):
            view = {'inputs': inputs, 'data_samples': samples}
            maps, scored = self._score_boxes(view)
            features.append(maps)
            views.append(scored)
        merged = self.merge_preds(list(zip(*views)))
        if self.module.roi_head.with_mask:
            self._predict_masks(features, views, merged)
        return merged

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[DetDataSample]]
    ) -> list[DetDataSample]:
        """Joins the class-scored boxes of all views and selects from them.

        Args:
            data_samples_list: For each image its views, with `bboxes`
                (N, 4) or (N, C * 4) and `scores` (N, C + 1).

        Returns:
            The first view of each image, with `bboxes` (K, 4), `scores` (K,)
            and `labels` (K,) in the common frame.
        """
        for samples in data_samples_list:
            common = self._common_frame(samples[0])
            boxes = [
                map_boxes(
                    view.pred_instances.bboxes, self._frame(view), common
                )
                for view in samples
            ]
            # A view without proposals has (0, 4) boxes, also where the
            # others have (N, C * 4).
            boxes = [b for b in boxes if len(b)] or boxes[:1]
            samples[0].pred_instances = select_boxes(
                torch.cat(boxes),
                torch.cat([view.pred_instances.scores for view in samples]),
                self.module.roi_head.test_cfg,
            )
        return [samples[0] for samples in data_samples_list]

    def _score_boxes(
        self, view: dict
    ) -> tuple[tuple[Tensor, ...], list[DetDataSample]]:
        """Returns the maps that masks need, and samples with scored boxes."""
        detector, roi_head = self.module, self.module.roi_head
        view = detector.data_preprocessor(view, training=False)
        samples = view['data_samples']
        maps = detector.extract_feat(view['inputs'])
        results = roi_head.predict_bbox(
            maps,
            [sample.metainfo for sample in samples],
            detector.rpn_head.predict(maps, samples, rescale=False),
            rcnn_test_cfg=None,
            rescale=not roi_head.with_mask,
        )
        detector.add_pred_to_datasample(samples, results)
        if not roi_head.with_mask:
            return (), samples
        extractors = roi_head.mask_roi_extractor
        if not isinstance(roi_head, CascadeRoIHead):
            extractors = [extractors]
        return maps[: max(e.num_inputs for e in extractors)], samples

    def _predict_masks(
        self,
        features: list[tuple[Tensor, ...]],
        views: list[list[DetDataSample]],
        merged: list[DetDataSample],
    ) -> None:
        """Adds masks to the merged boxes and maps both to the images."""
        roi_head = self.module.roi_head
        head = roi_head.mask_head
        if isinstance(roi_head, CascadeRoIHead):
            head = head[-1]
        results = [sample.pred_instances for sample in merged]
        common = [self._common_frame(sample) for sample in merged]
        probabilities = []
        for maps, samples in zip(features, views):
            frames = [self._frame(sample) for sample in samples]
            boxes = [
                map_boxes(result.bboxes, *pair)
                for result, *pair in zip(results, common, frames)
            ]
            probabilities.append(self._mask_probabilities(maps, boxes, frames))
        head.predict_by_feat(
            mask_preds=[
                torch.stack(p).float().mean(0) for p in zip(*probabilities)
            ],
            results_list=results,
            batch_img_metas=[sample.metainfo for sample in merged],
            rcnn_test_cfg=roi_head.test_cfg,
            rescale=True,
            activate_map=True,
        )

    def _mask_probabilities(
        self,
        maps: tuple[Tensor, ...],
        boxes: list[Tensor],
        frames: list[ViewFrame],
    ) -> list[Tensor]:
        """Returns the masks of each image's boxes (K, 4), flipped back.

        They are (K, C, S, S) in [0, 1], the mean of the cascade's stages.
        """
        roi_head = self.module.roi_head
        rois = bbox2roi(boxes)
        if isinstance(roi_head, CascadeRoIHead):
            logits = [
                roi_head._mask_forward(stage, maps, rois)['mask_preds']
                for stage in range(roi_head.num_stages)
            ]
        else:
            logits = [roi_head._mask_forward(maps, rois)['mask_preds']]
        masks = torch.stack([x.sigmoid() for x in logits]).mean(0)
        return [
            mask.flip(_FLIPPED_DIMS[frame.flip]) if frame.flip else mask
            for mask, frame in zip(
                masks.split([len(b) for b in boxes]), frames
            )
        ]

    def _frame(self, sample: DetDataSample) -> ViewFrame:
        """Returns the frame in which `_score_boxes` gives a view's boxes."""
        meta = sample.metainfo
        height, width = meta['ori_shape'][:2]
        flip = meta['flip_direction'] if meta.get('flip') else None
        if not self.module.roi_head.with_mask:
            return ViewFrame(width, height, flip)
        x_scale, y_scale = meta['scale_factor']
        return ViewFrame(width * x_scale, height * y_scale, flip)

    def _common_frame(self, first_view: DetDataSample) -> ViewFrame:
        return replace(self._frame(first_view), flip=None)
