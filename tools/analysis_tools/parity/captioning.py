# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Golden files of captioning."""

import re

from torch import Tensor

from beit3_mm.models.multimodal import ImageToText
from beit3_mm.models.multimodal.beam_search import BeamSearch
from parity.golden_file import GoldenFile
from parity.official import encoder_sizes, load

# beam<beams>_len<max length>_lp<length penalty>
BEAM_SEARCH = re.compile(r'beam(\d+)_len(\d+)_lp([\d.]+)')
DROP_WORST_AFTER = 1  # iterations; any number serves


def captioning(file: GoldenFile) -> dict[str, Tensor]:
    """Logits of the masked words, both losses, and the captions of every
    beam search that the file holds.
    """
    model = _model(file)
    text_mask = file['text_masked_position'].bool()
    inputs = {
        'image': file['image'],
        'text_ids': file['masked_text_ids'],
        'text_padding_mask': file['text_padding_mask'],
        'text_mask': text_mask,
    }
    tokens, target_ids = model.masked_tokens(inputs), file['text_ids']
    losses = [
        model.head.loss(tokens, target_ids[text_mask], iteration)['loss']
        for iteration in (0, DROP_WORST_AFTER)
    ]
    return {
        'logits': model(inputs),
        'caption_loss': losses[0],
        'caption_loss_drop_worst': losses[1],
        **_captions(model, file),
    }


def _captions(model: ImageToText, file: GoldenFile) -> dict[str, Tensor]:
    captions = {}
    for name in file.part('out/'):
        if match := BEAM_SEARCH.fullmatch(name):
            search = BeamSearch(
                num_beams=int(match[1]),
                max_tokens=int(match[2]),
                length_penalty=float(match[3]),
                mask_id=model.beam_search.mask_id,
            )
            captions[name] = search(
                model.backbone, model.head, file['image']
            ).ids
    return captions


def _model(file: GoldenFile) -> ImageToText:
    sizes = encoder_sizes(file)
    head = {
        'type': 'beit3_mm.CaptionHead',
        'embed_dims': sizes['embed_dims'],
        'vocab_size': sizes['vocab_size'],
        'drop_worst_after': DROP_WORST_AFTER,
    }
    # The mask is the last id of a golden file's vocabulary.
    search = {'mask_id': sizes['vocab_size'] - 1}
    model = ImageToText(sizes, head, search)
    load(model, file)
    return model
