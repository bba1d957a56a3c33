# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Captioning as unilm/beit3 does it: each beam is a sample of its own.

B images, K beams, L tokens of a pass, S keys, C channels, V ids.
"""

import torch
from torch import Tensor

from beit3_mm.layers.attention import KeyValue, MultiwayAttention
from beit3_mm.layers.masks import image_to_text_mask
from beit3_mm.models.beit3 import BEiT3
from beit3_mm.models.multimodal import ImageToText
from beit3_mm.models.multimodal.beam_search import BeamSearch, Captions
from benchmarks.plain import feed_forward

MASKED = -1e8
Past = list[KeyValue | None]  # of each layer, (B * K, heads, S, D)


def write_captions(model: ImageToText, image: Tensor) -> Captions:
    """Writes captions of images `(B, 3, H, W)` by the model's beam search.

    An image is repeated for each beam and encoded together with the first
    word, and its keys and values are reordered with those of the words.
    """
    search, batch = model.beam_search, len(image)
    beams = search.num_beams
    hypotheses = [_Hypothesis(search) for _ in range(batch)]
    image = image.repeat_interleave(beams, 0)
    ids = torch.full((len(image), 1), search.bos_id, device=image.device)
    sums = torch.full((batch, beams), -1e9, device=image.device)
    sums[:, 0] = 0
    past: Past = [None] * len(model.backbone.encoder.layers)
    while not all(hypothesis.done for hypothesis in hypotheses):
        masks = torch.full_like(ids[:, :1], search.mask_id)
        words = torch.cat([ids[:, -1:], masks], 1)
        tokens, past = _read(
            model.backbone, image, words, ids.shape[1] - 1, past
        )
        logits = model.head(tokens)[:, 1]
        # words only, as in ours: random weights may prefer a spare id
        log_probs = logits.float().log_softmax(-1)[:, : search.mask_id]
        scores = log_probs + sums.view(-1, 1)
        scores, index = scores.view(batch, -1).topk(3 * beams)
        chosen = []
        for i, hypothesis in enumerate(hypotheses):
            own = ids[i * beams : (i + 1) * beams].tolist()
            steps = zip(scores[i].tolist(), index[i].tolist())
            found = hypothesis.read(own, list(steps), search.mask_id)
            chosen += [(s, i * beams + parent, x) for s, parent, x in found]
        sums, parents, last = (
            torch.tensor(x, device=ids.device) for x in zip(*chosen)
        )
        sums = sums.view(batch, beams)
        ids = torch.cat([ids[parents], last[:, None]], 1)
        past = [(k[parents], v[parents]) for k, v in past]
    return Captions(
        torch.tensor([hypothesis.ids for hypothesis in hypotheses]),
        torch.tensor([hypothesis.score for hypothesis in hypotheses]),
    )


class _Hypothesis:
    """The best closed caption of an image.

    Args:
        search: Settings.
    """

    def __init__(self, search: BeamSearch) -> None:
        self.search = search
        self.ids: list[int] = []
        self.score = -torch.inf
        self.done = False

    def read(
        self,
        beams: list[list[int]],
        steps: list[tuple[float, int]],
        num_ids: int,
    ) -> list[tuple[float, int, int]]:
        """Reads the steps (sum, beam and id as one number), best first.

        Returns:
            Sum, beam and id of those that go on; of any, once it is done.
        """
        search, length = self.search, len(beams[0]) + 1  # with the mask
        bound = steps[0][0] / (search.max_tokens - 1) ** search.length_penalty
        self.done = self.done or self.score >= bound
        found = []
        for total, index in steps:
            parent, word = divmod(index, num_ids)
            is_last = length == search.max_tokens - 1
            if self.done or len(found) == search.num_beams:
                break
            if is_last or word == search.eos_id:
                self._close(beams[parent], total)
            else:
                found.append((total, parent, word))
        if len(beams[0]) == search.max_tokens - 2:
            self.done = True
        if self.done:
            return [(0.0, 0, search.pad_id)] * search.num_beams
        return found

    def _close(self, beam: list[int], total: float) -> None:
        search = self.search
        ids = [*beam, search.mask_id]
        score = total / len(ids) ** search.length_penalty
        if score > self.score:
            self.score = score
            padding = search.max_tokens - len(ids) - 1
            self.ids = [*ids, search.eos_id, *[search.pad_id] * padding]


def _read(
    backbone: BEiT3, image: Tensor, words: Tensor, position: int, past: Past
) -> tuple[Tensor, Past]:
    """Encodes a word and a mask of each beam, the first time with the image.

    Returns:
        Their tokens `(B * K, 2, C)` after the final norm, and keys and values
        without those of the mask.
    """
    positions = torch.arange(position, position + 2, device=words.device)
    x, num_vision = backbone.text_embedding(words, None, positions), 0
    if past[0] is None:
        vision = backbone.vision_embedding(image)
        x, num_vision = torch.cat([vision, x], 1), vision.shape[1]
        mask = image_to_text_mask(num_vision, 2, words.device)
    else:
        num_keys = past[0][0].shape[2] + 2
        mask = torch.ones(2, num_keys, dtype=torch.bool, device=words.device)
        mask[0, -1] = False
    kept: Past = []
    for layer, key_value in zip(backbone.encoder.layers, past):
        y = layer.attention_norm(x, num_vision)
        y, (k, v) = _attend(layer.attention, y, num_vision, mask, key_value)
        x = x + y
        x = x + feed_forward(layer.ffn, x, num_vision, part_of_pair=True)
        kept.append((k[:, :, :-1], v[:, :, :-1]))
    return backbone.encoder.norm(x, num_vision)[:, num_vision:], kept


def _attend(
    attention: MultiwayAttention,
    x: Tensor,
    num_vision: int,
    mask: Tensor,
    past: KeyValue | None,
) -> tuple[Tensor, KeyValue]:
    q, k, v = (
        projection(x, num_vision)
        .unflatten(-1, (attention.num_heads, -1))
        .transpose(1, 2)
        for projection in (
            attention.q_proj,
            attention.k_proj,
            attention.v_proj,
        )
    )
    if past is not None:
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    weights = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
    # torchscale adds a mask of numbers
    weights = torch.nan_to_num(weights)
    weights += torch.zeros_like(mask, dtype=weights.dtype).masked_fill(
        ~mask, MASKED
    )
    weights = weights.softmax(-1, dtype=torch.float32).type_as(weights)
    x = (weights @ v).transpose(1, 2).flatten(2)
    if attention.sub_norm is not None:
        x = attention.sub_norm(x, num_vision)
    return attention.out_proj(x, num_vision), (k, v)
