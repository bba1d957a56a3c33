# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Detection and segmentation, by models of mmdet and mmseg."""

from collections.abc import Iterator

import numpy as np

from beit3_mm.apis.predictions import Detections, LabelMap
from beit3_mm.apis.tasks.base import (
    Batch,
    Images,
    Query,
    Task,
    Texts,
    class_name,
    images_alone,
)


class Detection(Task):
    """Finds objects: boxes, and masks where the detector has them."""

    def queries(self, images: Images, texts: Texts) -> list[Query]:
        """Makes a sample of each image."""
        return images_alone(images, texts, 'detection')

    def predict(self, batches: Iterator[Batch]) -> Iterator[Detections]:
        """Yields the objects of each image."""
        meta = self.model.dataset_meta
        for queries, inputs, samples in batches:
            samples = self.model(inputs, samples, mode='predict')
            for query, sample in zip(queries, samples, strict=True):
                found = sample.pred_instances.cpu()
                order = found.scores.argsort(descending=True, stable=True)
                found = found[order].numpy()
                yield Detections(
                    images=query.images,
                    boxes=found.bboxes,
                    scores=found.scores,
                    labels=found.labels,
                    names=[class_name(meta, x) for x in found.labels],
                    masks=found.get('masks'),
                )


class Segmentation(Task):
    """Tells the class of each pixel."""

    def queries(self, images: Images, texts: Texts) -> list[Query]:
        """Makes a sample of each image."""
        return images_alone(images, texts, 'segmentation')

    def predict(self, batches: Iterator[Batch]) -> Iterator[LabelMap]:
        """Yields the label map of each image."""
        meta = self.model.dataset_meta
        palette = meta.get('palette')
        for queries, inputs, samples in batches:
            samples = self.model(inputs, samples, mode='predict')
            for query, sample in zip(queries, samples, strict=True):
                labels = sample.pred_sem_seg.data[0].cpu().numpy()
                present = np.unique(labels).tolist()
                yield LabelMap(
                    images=query.images,
                    labels=labels,
                    names={i: class_name(meta, i) for i in present},
                    palette=None if palette is None else np.array(palette),
                )
