# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from beit3_mm.registry import MODELS


@MODELS.register_module()
class SemanticTTAModel(BaseTTAModel):
    """Test-time augmentation of semantic segmentation by averaging scores.

    For heads whose output is a score already, such as Mask2Former's sum of
    class x mask: mmseg's `SegTTAModel` puts a softmax over it. One unflipped
    view gives exactly the plain result. Scores are summed view by view, so
    that any number of views needs the memory of two.

    Example:
        >>> tta_model = dict(type='beit3_mm.SemanticTTAModel')
    """

    @torch.no_grad()
    def test_step(self, data: dict) -> list[SegDataSample]:
        """Segments a batch of images from all their views.

        Args:
            data: `inputs` and `data_samples`, each a list over views of
                lists over images.

        Returns:
            For each image the sample of its first view, with `seg_logits`
            (C, H, W), the mean scores, and `pred_sem_seg` (1, H, W).
        """
        merged = None
        for inputs, samples in zip(data['inputs'], data['data_samples']):
            view = {'inputs': inputs, 'data_samples': samples}
            results = self.module.test_step(view)
            if merged is None:
                merged = results
            else:
                merged = self.merge_preds(list(zip(merged, results)))
        for sample in merged:
            scores = sample.seg_logits.data / len(data['inputs'])
            sample.seg_logits = PixelData(data=scores)
            sample.pred_sem_seg = PixelData(data=scores.argmax(0, True))
        return merged

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[SegDataSample]]
    ) -> list[SegDataSample]:
        """Adds the scores of an image's views up in the first of them."""
        for first, *others in data_samples_list:
            for other in others:
                first.seg_logits.data += other.seg_logits.data
        return [samples[0] for samples in data_samples_list]
