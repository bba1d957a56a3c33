# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Image patches and text tokens as embeddings with learned positions.

B batch, N patches, L text tokens, C channels.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# fairseq's tables start at index 2, since index 1 stood for padding; the
# released weights keep the two unused rows.
POSITION_OFFSET = 2


def resize_positions(
    table: Tensor,
    source: tuple[int, int],
    target: tuple[int, int],
    num_others: int = POSITION_OFFSET + 1,
) -> Tensor:
    """Resizes a table of vision positions bicubically, in float32.

    Args:
        table: `(2 + 1 + h * w, C)`: unused rows, CLS token, patches.
        source: (h, w) of the table in patches.
        target: (h, w) wanted.
        num_others: Rows in front of the patches', which stay.

    Returns:
        `(2 + 1 + h' * w', C)` in the dtype of `table`.
    """
    if source == target:
        return table
    head, patches = table.split([num_others, source[0] * source[1]])
    patches = patches.float().T.reshape(1, -1, *source)
    patches = F.interpolate(
        patches, target, mode='bicubic', align_corners=False
    )
    return torch.cat([head, patches[0].flatten(1).T.to(table.dtype)])


def table_side(num_rows: int) -> int | None:
    """Returns the side in patches of the square that a table of vision
    positions is made for, None if its rows make no square.
    """
    patches = num_rows - POSITION_OFFSET - 1
    side = math.isqrt(max(patches, 0))
    return side if side and side * side == patches else None


def resize_patch_embedding(weight: Tensor, patch_size: int) -> Tensor:
    """Resizes patch kernels bicubically, in float32, as EVA does for dense
    tasks (baaivision/EVA, interpolate_patch_14to16.py).

    Args:
        weight: `(C, 3, p, p)`.
        patch_size: Side wanted.

    Returns:
        `(C, 3, patch_size, patch_size)` in the dtype of `weight`.
    """
    if weight.shape[-1] == patch_size:
        return weight
    resized = F.interpolate(
        weight.float(), patch_size, mode='bicubic', align_corners=False
    )
    return resized.to(weight.dtype)


class VisionEmbedding(nn.Module):
    """Cuts an image into patches and embeds them.

    Positions and patch kernels of other sizes fit when they are loaded: they
    are resized in float32, whatever their dtype.

    Args:
        img_size: Side in pixels of the images that the position table is made
            for; other sizes resize the table on the fly.
        patch_size: Side of a patch in pixels.
        embed_dims: Channels.
        with_cls_token: Puts the CLS token in front of the patches.
        with_mask_token: Builds the mask token, so that `image_mask` works.

    Raises:
        ValueError: If `img_size` does not divide by `patch_size`.
    """

    def __init__(
        self,
        img_size: int,
        patch_size: int,
        embed_dims: int,
        with_cls_token: bool = True,
        with_mask_token: bool = True,
    ) -> None:
        super().__init__()
        if img_size % patch_size:
            raise ValueError(f'{img_size=} must divide by {patch_size=}')
        self.patch_size = patch_size
        side = img_size // patch_size
        self.table_grid = (side, side)
        self.proj = nn.Conv2d(3, embed_dims, patch_size, patch_size)
        for name, wanted in (
            ('cls_token', with_cls_token),
            ('mask_token', with_mask_token),
        ):
            token = nn.Parameter(torch.zeros(1, 1, embed_dims))
            self.register_parameter(name, token if wanted else None)
        self.positions = nn.Embedding(
            POSITION_OFFSET + 1 + side * side, embed_dims
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Resizes what the state dict, torch's own copy, has of other sizes.

        What cannot be resized stays, for torch to complain of.
        """
        table = state_dict.get(f'{prefix}positions.weight')
        if table is not None and table.ndim == 2:
            side = table_side(len(table))
            if side and (side, side) != self.table_grid:
                state_dict[f'{prefix}positions.weight'] = resize_positions(
                    table.float(), (side, side), self.table_grid
                )
        kernel = state_dict.get(f'{prefix}proj.weight')
        resizable = kernel is not None and kernel.ndim == 4
        if resizable and kernel.shape[-1] != self.patch_size:
            state_dict[f'{prefix}proj.weight'] = resize_patch_embedding(
                kernel.float(), self.patch_size
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def grid(self, image: Tensor) -> tuple[int, int]:
        """Returns (h, w) in patches of an image, incomplete ones included."""
        height, width = image.shape[-2:]
        return -(-height // self.patch_size), -(-width // self.patch_size)

    def forward(
        self, image: Tensor, image_mask: Tensor | None = None
    ) -> Tensor:
        """Embeds images of any size, zero-padded to the patch size.

        Args:
            image: `(B, 3, H, W)`.
            image_mask: `(B, N)` bool, True = replaced by the mask token.

        Returns:
            `(B, 1 + N, C)`, or `(B, N, C)` without the CLS token.

        Raises:
            ValueError: If `image_mask` does not fit the patches.
        """
        grid = self.grid(image)
        bottom = grid[0] * self.patch_size - image.shape[-2]
        right = grid[1] * self.patch_size - image.shape[-1]
        if bottom or right:
            image = F.pad(image, (0, right, 0, bottom))
        # (B, C, h, w) -> (B, N, C); contiguous, or every later layer pays
        x = self.proj(image).flatten(2).transpose(1, 2).contiguous()
        if image_mask is not None:
            x = self._mask(x, image_mask)
        positions = resize_positions(
            self.positions.weight, self.table_grid, grid
        )
        if self.cls_token is None:
            return x + positions[POSITION_OFFSET + 1 :]
        cls_token = self.cls_token.to(x.dtype).expand(len(x), -1, -1)
        return torch.cat([cls_token, x], dim=1) + positions[POSITION_OFFSET:]

    def _mask(self, x: Tensor, image_mask: Tensor) -> Tensor:
        if self.mask_token is None:
            raise ValueError('image_mask given, but with_mask_token=False')
        if image_mask.shape != x.shape[:2]:
            raise ValueError(
                f'image_mask of shape {tuple(image_mask.shape)} does not '
                f'fit {tuple(x.shape[:2])} (batch, patches)'
            )
        mask_token = self.mask_token.to(x.dtype)
        return torch.where(image_mask.unsqueeze(-1), mask_token, x)


class TextEmbedding(nn.Module):
    """Embeds token ids and adds learned positions.

    Args:
        vocab_size: Rows of the word table.
        max_text_positions: Rows of the position table, its two unused ones
            included; a text may be that long less two.
        embed_dims: Channels.
    """

    def __init__(
        self, vocab_size: int, max_text_positions: int, embed_dims: int
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, embed_dims)
        self.positions = nn.Embedding(max_text_positions, embed_dims)

    def forward(
        self,
        text_ids: Tensor,
        padding_mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Embeds texts.

        Args:
            text_ids: `(B, L)` int64.
            padding_mask: `(B, L)` bool, True = padding, which becomes zero
                after word and position are added.
            positions: `(L,)` or `(B, L)` int64 from 0; by default 0, 1, ...

        Returns:
            `(B, L, C)`.

        Raises:
            ValueError: If a text is longer than the position table.
        """
        longest = self.positions.num_embeddings - POSITION_OFFSET
        if text_ids.shape[1] > longest:
            raise ValueError(
                f'a text of {text_ids.shape[1]} tokens is longer than the '
                f'{longest} positions of this model; cut the text, or set '
                'max_text_positions'
            )
        if positions is None:
            positions = torch.arange(text_ids.shape[1], device=text_ids.device)
        x = self.words(text_ids)
        x = x + self.positions(positions + POSITION_OFFSET)
        if padding_mask is not None:
            x = x.masked_fill(padding_mask.unsqueeze(-1), 0)
        return x
