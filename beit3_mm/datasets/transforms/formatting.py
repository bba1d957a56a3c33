# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement
from torch import Tensor

from beit3_mm.registry import TRANSFORMS

# Labels of a sample: key in `results`, field of the data sample, type.
LABELS = (
    ('gt_label', 'gt_label', torch.int64),
    ('answer_labels', 'gt_labels', torch.int64),
    ('answer_scores', 'gt_scores', torch.float32),
)
# Key in `results`, and of the inputs; the second is the visual tokenizer's.
IMAGES = (('img', 'image'), ('tokenizer_img', 'tokenizer_image'))
ARRAYS = ('target_ids', 'text_mask', 'image_mask', 'visual_ids')


@TRANSFORMS.register_module()
class PackMultimodalInputs(BaseTransform):
    """Packs a sample into tensors and a data sample; only what it has.

    Args:
        meta_keys: What the data sample keeps besides labels.

    Example:
        >>> dict(type='beit3_mm.PackMultimodalInputs')
    """

    def __init__(
        self,
        meta_keys: Sequence[str] = (
            'img_path',
            'img_paths',
            'image_id',
            'question_id',
            'identifier',
            'answers',
            'answer_type',
            'captions',
            'domain',
            'text_place',
        ),
    ) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Returns `dict(inputs=..., data_samples=BaseDataElement)`.

        Args:
            results: May hold `img`, uint8 (H, W, 3) or (K, H, W, 3);
                `text_ids`, int64 (L,) or a list of K of them; `target_ids`
                and `text_mask` (L,); `tokenizer_img`, uint8 (h, w, 3);
                `image_mask` (N,), bool; `visual_ids` (N,), int64; `gt_label`,
                `answer_labels`, `answer_scores`; and the `meta_keys`.

        Returns:
            `inputs` holds `image`, uint8 (3, H, W) or (K, 3, H, W),
            `tokenizer_image` likewise, masks, ids and texts. Several texts
            lie in one int64 tensor (K, longest), whose rows are filled up
            with -1: lists do not pass mmengine's `pseudo_collate`, and cost a
            worker a file handle each. Then the meta information holds
            `num_texts`.

        Raises:
            ValueError: If `img` is not of 8-bit colour images.
        """
        inputs, meta = {}, {}
        for key, name in IMAGES:
            if key in results:
                inputs[name] = _to_image(results[key])
        text_ids = results.get('text_ids')
        if isinstance(text_ids, list):
            inputs['text_ids'] = _stack_texts(text_ids)
            meta['num_texts'] = len(text_ids)
        elif text_ids is not None:
            inputs['text_ids'] = torch.from_numpy(text_ids)
        for key in ARRAYS:
            if key in results:
                inputs[key] = torch.from_numpy(results[key])
        meta |= {key: results[key] for key in self.meta_keys if key in results}
        labels = {
            # one label too is (1,): mmpretrain's metrics concatenate them
            field: torch.as_tensor(results[key], dtype=dtype).reshape(-1)
            for key, field, dtype in LABELS
            if key in results
        }
        data_sample = BaseDataElement(metainfo=meta, **labels)
        return dict(inputs=inputs, data_samples=data_sample)


def _to_image(img: np.ndarray) -> Tensor:
    if img.dtype != np.uint8 or img.ndim not in (3, 4) or img.shape[-1] != 3:
        raise ValueError(
            'img must be uint8 of shape (H, W, 3), or (K, H, W, 3) for K '
            f'images, not {img.dtype} {img.shape}'
        )
    # channels in front of height and width
    img = np.moveaxis(img, -1, -3)
    return torch.from_numpy(np.ascontiguousarray(img))


def _stack_texts(texts: list[np.ndarray]) -> Tensor:
    longest = max(map(len, texts), default=0)
    stacked = torch.full((len(texts), longest), -1)
    for row, ids in zip(stacked, texts):
        row[: len(ids)] = torch.from_numpy(ids)
    return stacked
