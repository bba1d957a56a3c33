# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Captions of images by beam search, the image being encoded once.

B images, K beams, T ids of a caption, W ids of words, C channels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from beit3_mm.models.beit3 import BEiT3, Cache
from beit3_mm.models.heads.caption import CaptionHead

UNUSED_BEAM = -1e9  # sum of log-probabilities of beams that do not count yet


class Captions(NamedTuple):
    """Captions and how likely they are.

    Args:
        ids: `(B, T)`: `<s>`, the words, the mask, `</s>`, padding.
        scores: `(B,)`: sums of log-probabilities, divided by the length to
            the power of the length penalty.
    """

    ids: Tensor
    scores: Tensor


class Candidates(NamedTuple):
    """The best continuations of an image's beams, best first, `(B, 2 K)`.

    Args:
        sums: Sums of log-probabilities.
        parents: Numbers of the beams that are continued.
        words: Ids.
    """

    sums: Tensor
    parents: Tensor
    words: Tensor


@dataclass(frozen=True)
class BeamSearch:
    """Writes captions as the released captioners do (unilm/beit3,
    engine_for_finetuning.py), with the same result.

    A mask stands behind the words so far, and what is predicted there
    continues them. As in the official code, a closed caption keeps the mask
    and is judged by the length with it. Unlike there, a word is never the mask
    or one of the spare ids behind it, which have no text: a model that has
    hardly been trained may find them likely.

    Args:
        num_beams: Partial captions that are followed at a time.
        max_tokens: Length of a caption in ids, all special ones included.
        length_penalty: Power of the length that a sum of log-probabilities
            is divided by: 0 favours short captions, more than 0 longer ones.
        bos_id: Id of `<s>`.
        pad_id: Id of padding.
        eos_id: Id of `</s>`.
        mask_id: Id of the mask, behind all words; 64001 in the released
            models.

    Raises:
        ValueError: If there is no beam or no room for a word, or the mask
            is in front of another special id.
    """

    num_beams: int = 3
    max_tokens: int = 20
    length_penalty: float = 0.6
    bos_id: int = 0
    pad_id: int = 1
    eos_id: int = 2
    mask_id: int = 64001

    def __post_init__(self) -> None:
        if self.num_beams < 1:
            raise ValueError(f'num_beams={self.num_beams} must be at least 1')
        if self.max_tokens < 3:
            raise ValueError(
                f'max_tokens={self.max_tokens} must be at least 3: <s>, the '
                'mask and </s>'
            )
        if self.mask_id <= max(self.bos_id, self.pad_id, self.eos_id):
            raise ValueError(
                f'mask_id={self.mask_id} must be the last id, behind all '
                'words and the other special ids'
            )

    @torch.no_grad()
    def __call__(
        self, backbone: BEiT3, head: CaptionHead, image: Tensor
    ) -> Captions:
        """Writes a caption for each image `(B, 3, H, W)`."""
        steps = _Steps(backbone, image, self.num_beams)
        shape = len(image), self.num_beams, self.max_tokens
        ids = image.new_full(shape, self.pad_id, dtype=torch.long)
        ids[:, :, 0] = self.bos_id
        sums = torch.zeros(shape[:2], device=image.device)
        sums[:, 1:] = UNUSED_BEAM  # all beams are alike at first
        best = Captions(ids[:, 0], sums.new_full(shape[:1], -torch.inf))
        for length in range(1, self.max_tokens - 1):
            tokens = steps(ids[:, :, length - 1], length - 1, self.mask_id)
            log_probs = head(tokens).float().log_softmax(-1)
            log_probs = log_probs[:, :, : self.mask_id]  # of words
            candidates = self._candidates(sums, log_probs)
            # What is still to come could score no better than this.
            done = best.scores >= self._scores(
                candidates.sums[:, 0], self.max_tokens - 1
            )
            if done.all():
                break
            best = self._close(best, done, candidates, ids, length)
            ids, sums, parents = self._extend(candidates, ids, length)
            steps.reorder(parents)
        return best

    def _scores(self, sums: Tensor, length: int) -> Tensor:
        return sums / length**self.length_penalty

    def _candidates(self, sums: Tensor, log_probs: Tensor) -> Candidates:
        """Picks of `(B, K)` beams and their next words `(B, K, W)`."""
        sums = (sums[:, :, None] + log_probs).flatten(1)
        # At most K of these are </s>, so at least K go on; the official 3 K
        # come to the same.
        sums, index = sums.topk(2 * self.num_beams, dim=1)
        num_ids = log_probs.shape[2]
        parents = index.div(num_ids, rounding_mode='floor')
        return Candidates(sums, parents, index % num_ids)

    def _close(
        self,
        best: Captions,
        done: Tensor,
        candidates: Candidates,
        ids: Tensor,
        length: int,
    ) -> Captions:
        """Returns the best captions, new ones that end here included.

        Args:
            best: The best so far.
            done: `(B,)`, True where they stay.
            candidates: Next words.
            ids: Ids of the beams, `(B, K, T)`.
            length: Of the beams in ids, without the mask.
        """
        goes_on = candidates.words != self.eos_id
        # Read as far as K candidates go on; at the end, none can.
        closes = goes_on.cumsum(1) < self.num_beams
        closes &= ~goes_on
        closes |= length == self.max_tokens - 2
        sums = candidates.sums.masked_fill(~closes, -torch.inf)
        sums, first = sums.max(1)  # the first one, as they are sorted
        scores = self._scores(sums, length + 1)
        parents = candidates.parents.gather(1, first[:, None])
        closed = _take_beams(ids, parents)[:, 0]
        closed[:, length] = self.mask_id
        closed[:, length + 1] = self.eos_id
        better = ~done & (scores > best.scores)
        return Captions(
            torch.where(better[:, None], closed, best.ids),
            torch.where(better, scores, best.scores),
        )

    def _extend(
        self, candidates: Candidates, ids: Tensor, length: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns ids `(B, K, T)` and sums `(B, K)` of the beams that go on,
        and the numbers `(B, K)` of the beams that they continue.
        """
        ends = candidates.words == self.eos_id
        # Those that go on come first, in their order.
        first = ends.int().argsort(dim=1, stable=True)[:, : self.num_beams]
        sums, parents, words = (x.gather(1, first) for x in candidates)
        ids = _take_beams(ids, parents)
        ids[:, :, length] = words
        return ids, sums, parents


class _Steps:
    """Reads the beams' words one after the other.

    The beams of an image are queries of one sequence, so its keys and values
    serve all of them. Words stay cached where they are when beams are
    reordered: only which beam sees which word changes.

    Args:
        backbone: The encoder.
        image: `(B, 3, H, W)`.
        num_beams: K.
    """

    def __init__(self, backbone: BEiT3, image: Tensor, num_beams: int) -> None:
        self.backbone = backbone
        # The tokens of the last layer are not needed, just keys and values.
        cache = backbone(image, cache=(), first_tokens=True).cache
        self.cache: Cache = tuple(
            # Contiguous, or each step's product would copy them
            ((k.contiguous(), v.contiguous()),)
            for ((k, v),) in cache
        )
        num_vision = cache[0][0][0].shape[2]
        # What of the cache a beam sees: all of the image, its own words
        self.visible = image.new_ones(
            (len(image), num_beams, num_vision), dtype=torch.bool
        )

    def __call__(self, words: Tensor, position: int, mask_id: int) -> Tensor:
        """Returns the tokens `(B, K, C)` of masks behind the words `(B, K)`,
        which are at the position.
        """
        num_beams = words.shape[1]
        own = torch.eye(num_beams, dtype=torch.bool, device=words.device)
        own = own.expand(len(words), -1, -1)
        self.visible = torch.cat([self.visible, own], dim=2)
        # Words see no mask, a mask sees its word and itself.
        rows = [
            torch.cat([self.visible, mask], dim=2)
            for mask in (torch.zeros_like(own), own)
        ]
        positions = torch.tensor([position, position + 1])
        output = self.backbone(
            text_ids=torch.cat([words, torch.full_like(words, mask_id)], 1),
            text_positions=positions.repeat_interleave(num_beams).to(words),
            attn_mask=torch.cat(rows, dim=1),
            cache=self.cache,
        )
        self.cache = _without_masks(output.cache, num_beams)
        return output.language[:, num_beams:]

    def reorder(self, parents: Tensor) -> None:
        """Lets each beam go on where its parent `(B, K)` was."""
        self.visible = _take_beams(self.visible, parents)


def _take_beams(x: Tensor, parents: Tensor) -> Tensor:
    """Returns the rows `(B, K', ...)` of x `(B, K, D)` that parents name."""
    return x.gather(1, parents[:, :, None].expand(-1, -1, x.shape[2]))


def _without_masks(cache: Cache, num_beams: int) -> Cache:
    """Returns two segments for each layer, the image and all words."""
    layers = []
    for image, *texts in cache:
        *past, (k, v) = texts
        words = [*past, (k[:, :, :num_beams], v[:, :, :num_beams])]
        k, v = (torch.cat(parts, dim=2) for parts in zip(*words))
        layers.append((image, (k, v)))
    return tuple(layers)
