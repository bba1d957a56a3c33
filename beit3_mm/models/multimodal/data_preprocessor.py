# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from beit3_mm.registry import MODELS

KEYS = {'image', 'text_ids', 'target_ids', 'text_mask'}


@MODELS.register_module()
class MultimodalDataPreprocessor(BaseDataPreprocessor):
    """Makes a batch of packed samples: images normalised, texts padded.

    Texts are padded to the longest of the batch and not, as in the official
    code, to a fixed length; padding changes no result of the encoder. Images
    are normalised in float32, whatever the dtype of the model.

    Args:
        mean: Of the three channels, of values from 0 to 255, in the order
            after `bgr_to_rgb`.
        std: Likewise.
        bgr_to_rgb: Swaps the channels of mmcv's images to RGB.
        pad_token_id: Id behind the end of a text.

    Raises:
        ValueError: If `mean` or `std` has not three values, or a zero `std`.

    Example:
        >>> dict(
        ...     type='beit3_mm.MultimodalDataPreprocessor',
        ...     mean=[127.5, 127.5, 127.5],
        ...     std=[127.5, 127.5, 127.5],
        ... )
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        bgr_to_rgb: bool = True,
        pad_token_id: int = 1,
    ) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or 0 in std:
            raise ValueError(
                f'mean and std need 3 values, std none of 0; got {mean=} and '
                f'{std=}'
            )
        # No buffers: `model.half()` would round them.
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.bgr_to_rgb = bgr_to_rgb
        self.pad_token_id = pad_token_id

    def forward(self, data: dict, training: bool = False) -> dict:
        """Returns `dict(inputs=..., data_samples=...)` on the model's device.

        Args:
            data: `inputs`, a dict of lists as `pseudo_collate` makes it or a
                list of dicts, of what `PackMultimodalInputs` gives; and
                `data_samples`, where there are any.
            training: Not used.

        Returns:
            `inputs` with those of these that the samples have: `image`
            (B, 3, H, W) or (B, K, 3, H, W), float32; `text_ids` and
            `target_ids` (T, L), int64, where T counts the texts of all
            samples one after the other; `text_mask` (T, L), bool, False in
            padding; with `text_ids`, `text_padding_mask` (T, L), bool, True =
            padding, or None where nothing is padded. `data_samples` is None
            where there are none.

        Raises:
            ValueError: If the samples have different or unknown inputs, or
                images of different sizes.
            TypeError: If the texts of a sample are no tensor.
        """
        inputs = transpose_inputs(data['inputs'])
        if unknown := set(inputs) - KEYS:
            raise ValueError(
                f'inputs hold {sorted(unknown)}; known are {sorted(KEYS)}'
            )
        samples = self.cast_data(data.get('data_samples'))
        batch = {}
        if 'image' in inputs:
            _check_sizes(inputs['image'], samples)
            batch['image'] = self._normalise(inputs['image'])
        texts = [
            row for item in inputs.get('text_ids', ()) for row in _rows(item)
        ]
        if texts:
            batch['text_ids'] = self._pad(texts, self.pad_token_id)
            batch['text_padding_mask'] = self._padding_mask(texts)
        for key, value in (
            ('target_ids', self.pad_token_id),
            ('text_mask', False),
        ):
            if key in inputs:
                batch[key] = self._pad(inputs[key], value)
        return dict(inputs=batch, data_samples=samples)

    def _normalise(self, images: list[Tensor]) -> Tensor:
        image = torch.stack([self.cast_data(item) for item in images])
        if self.bgr_to_rgb:
            image = image.flip(-3)
        image = image.float()
        mean, std = (
            image.new_tensor(values).view(3, 1, 1)
            for values in (self.mean, self.std)
        )
        return image.sub_(mean).div_(std)  # a copy of ours since `stack`

    def _pad(self, rows: list[Tensor], value: int) -> Tensor:
        # One transfer of the whole is cheaper than one for each text.
        return self.cast_data(
            pad_sequence(rows, batch_first=True, padding_value=value)
        )

    def _padding_mask(self, texts: list[Tensor]) -> Tensor | None:
        lengths = torch.tensor([len(text) for text in texts])
        longest = int(lengths.max())
        if (lengths == longest).all():
            return None
        return self.cast_data(torch.arange(longest) >= lengths[:, None])


def transpose_inputs(inputs: dict | list[dict]) -> dict[str, list[Tensor]]:
    """Returns inputs as a new dict of lists, one item for each sample.

    Args:
        inputs: Such a dict, whose items may be stacked, or the dicts of the
            samples.

    Raises:
        ValueError: If the samples hold different inputs.
    """
    if not isinstance(inputs, dict):
        different = [
            item for item in inputs if item.keys() != inputs[0].keys()
        ]
        if different:
            raise ValueError(
                f'samples of one batch hold {sorted(inputs[0])} and '
                f'{sorted(different[0])}: they must hold the same inputs'
            )
        return {key: [item[key] for item in inputs] for key in inputs[0]}
    return {key: list(items) for key, items in inputs.items()}


def _check_sizes(images: list[Tensor], samples: list | None) -> None:
    sizes = [tuple(image.shape) for image in images]
    if len(set(sizes)) == 1:
        return
    other = next(i for i, size in enumerate(sizes) if size != sizes[0])
    names = [
        sample.get('img_path', sample.get('img_paths'))
        for sample in (samples or ())
    ]
    which = f' ({names[0]} and {names[other]})' if names else ''
    raise ValueError(
        f'images of shapes {sizes[0]} and {sizes[other]} in one batch{which}: '
        'the pipeline must resize all to one size'
    )


def _rows(text_ids: Tensor) -> list[Tensor]:
    """Returns the texts of a sample: (L,), or (K, L) filled up with -1."""
    if not isinstance(text_ids, Tensor):
        raise TypeError(
            'text_ids of a sample must be a tensor (L,), or (K, L) filled up '
            f'with -1, not {type(text_ids).__name__}: pseudo_collate would '
            'mix up lists; see PackMultimodalInputs'
        )
    if text_ids.ndim == 1:
        return [text_ids]
    return [row[row >= 0] for row in text_ids]
