# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Pictures of what masked data modeling hides and guesses.

N patches of P x P pixels in a grid of h x w, L text tokens.
"""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from beit3_mm.apis.canvas import Colour, Row, add_rows, enlarge, put_beside
from beit3_mm.tokenizer import EOS_ID, Tokenizer

HIDDEN = 128  # grey of a masked patch, and of a code that was never met
RIGHT, WRONG = (0, 160, 0), (210, 0, 0)
BLANK = '▢'  # of a masked word


class MeanPatches:
    """The mean of the patches that have a code, as a picture of the code.

    A visual token stands for no pixels of its own; what patches look like
    that the visual tokenizer gives it to, shows what it means.

    Args:
        num_codes: Number of codes.
        patch_size: P.
    """

    def __init__(self, num_codes: int, patch_size: int) -> None:
        self.patch_size = patch_size
        self.sums = torch.zeros(num_codes, patch_size, patch_size, 3)
        self.counts = torch.zeros(num_codes)

    def add(self, image: Tensor, ids: Tensor) -> None:
        """Takes in an image, RGB from 0 to 255 `(3, H, W)`, and its visual
        tokens `(N,)`.
        """
        patches = to_patches(image, self.patch_size)
        self.sums.index_add_(0, ids, patches)
        self.counts.index_add_(0, ids, torch.ones(len(ids)))

    def __getitem__(self, ids: Tensor) -> Tensor:
        """Returns the means `(n, P, P, 3)` of codes `(n,)`."""
        counts = self.counts[ids].view(-1, 1, 1, 1)
        means = self.sums[ids] / counts.clamp(min=1)
        return torch.where(counts > 0, means, HIDDEN)


def to_patches(image: Tensor, patch_size: int) -> Tensor:
    """Cuts `(3, H, W)` into `(N, P, P, 3)`, float."""
    side = patch_size
    x = image.float().unfold(1, side, side).unfold(2, side, side)
    return x.permute(1, 2, 3, 4, 0).flatten(0, 1)


def to_image(patches: Tensor, grid: tuple[int, int]) -> Image.Image:
    """Puts patches `(N, P, P, 3)` from 0 to 255 together."""
    x = patches.unflatten(0, grid).permute(0, 2, 1, 3, 4)
    pixels = x.flatten(2, 3).flatten(0, 1).clamp(0, 255).round()
    return Image.fromarray(pixels.to(torch.uint8).numpy())


def draw_patches(
    image: Tensor,
    image_mask: Tensor,
    visual_ids: Tensor,
    pred_visual_ids: Tensor,
    means: MeanPatches,
) -> Image.Image:
    """Draws an image, what the model sees of it, and the codes that it
    guesses beside the true ones, each as its mean patch.

    Args:
        image: RGB from 0 to 255, `(3, H, W)`.
        image_mask: `(N,)` bool, True = masked.
        visual_ids: The true codes, `(N,)`.
        pred_visual_ids: The guessed ones, `(N,)`; read where masked.
        means: Of the codes.

    Returns:
        Four pictures side by side. A frame around a guess says whether it is
        right.
    """
    size = means.patch_size
    grid = image.shape[1] // size, image.shape[2] // size
    whole = to_patches(image, size)
    seen, guessed, true = (whole.clone() for _ in range(3))
    seen[image_mask] = HIDDEN
    guessed[image_mask] = means[pred_visual_ids[image_mask]]
    true[image_mask] = means[visual_ids[image_mask]]
    pictures, factor = [], 1
    for patches in (whole, seen, guessed, true):
        picture, factor = enlarge(to_image(patches, grid))
        pictures.append(picture)
    frame = ImageDraw.Draw(pictures[2])
    side = size * factor
    for i in image_mask.nonzero().flatten().tolist():
        top, left = (side * place for place in divmod(i, grid[1]))
        right = pred_visual_ids[i] == visual_ids[i]
        frame.rectangle(
            (left, top, left + side - 1, top + side - 1),
            outline=RIGHT if right else WRONG,
            width=max(side // 12, 1),
        )
    return put_beside(pictures, pictures[0].height)


def text_rows(
    text_ids: Tensor,
    target_ids: Tensor,
    text_mask: Tensor,
    pred_text_ids: Tensor,
    tokenizer: Tokenizer,
) -> list[Row]:
    """Returns a text as the model sees it, and each word with its guess.

    Args:
        text_ids: As the model gets them, `(L,)`, without padding.
        target_ids: As they were.
        text_mask: True = to be guessed.
        pred_text_ids: The guesses; read where something was to be guessed.
        tokenizer: Of the ids.
    """
    rows = [Row(_with_blanks(text_ids, tokenizer))]
    for i in text_mask.nonzero().flatten().tolist():
        true, guess = int(target_ids[i]), int(pred_text_ids[i])
        colour: Colour = RIGHT if true == guess else WRONG
        words = [tokenizer.decode([x]) or f'id {x}' for x in (true, guess)]
        text = words[0]
        if true != guess:
            text = f'{words[0]} (guessed: {words[1]})'
        rows.append(Row(text, colour=colour))
    return rows


def _with_blanks(ids: Tensor, tokenizer: Tokenizer) -> str:
    """Returns a text with a blank for each mask."""
    parts, part = [], []
    for token in [*ids.tolist(), EOS_ID]:
        if token in (tokenizer.mask_id, EOS_ID):
            parts.append(tokenizer.decode(part))
            part = []
            if token == tokenizer.mask_id:
                parts.append(BLANK)
        else:
            part.append(token)
    return ' '.join(part for part in parts if part)


def draw_masked_sample(
    picture: Image.Image | None, rows: Sequence[Row]
) -> Image.Image:
    """Draws what `draw_patches` and `text_rows` give of one sample."""
    if picture is None:
        picture = Image.new('RGB', (1, 1), 'white')
    return add_rows(picture, rows)
