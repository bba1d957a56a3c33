# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from collections.abc import Sequence
from numbers import Integral

import numpy as np
from mmcv.transforms import BaseTransform

from beit3_mm.registry import TRANSFORMS
from beit3_mm.tokenizer import EOS_ID, UNK_ID, Tokenizer, load_tokenizer

# Of the ids to be predicted, 80% are masked, 10% kept and 10% replaced: BERT
# (arXiv 1810.04805, section 3.1), and unilm/beit3/datasets.py.
MASKED, KEPT = 0.8, 0.1


@TRANSFORMS.register_module()
class TokenizeText(BaseTransform):
    """Turns the text of a sample, or each of its texts, into ids.

    A text that is too long is cut at its end; an empty one becomes the two
    special ids. Characters that the tokenizer lacks become `<unk>`.

    Args:
        model_file: SentencePiece model, read when the first text is
            tokenised. Samples that come with ids need none.
        max_tokens: Largest length in ids, special ones included; 64 in the
            official recipes, 32 for captions.

    Raises:
        ValueError: If `max_tokens` leaves no room for a word.

    Example:
        >>> dict(type='beit3_mm.TokenizeText', model_file='beit3.spm')
    """

    def __init__(
        self, model_file: str | None = None, max_tokens: int = 64
    ) -> None:
        if max_tokens < 3:
            raise ValueError(f'{max_tokens=} must be at least 3')
        self.model_file = model_file
        self.max_tokens = max_tokens

    def transform(self, results: dict) -> dict:
        """Adds `text_ids`: `[bos, ..., eos]`, int64 (L,), or a list of them.

        Args:
            results: Holds `text`, a str or a list of str; or, as in the
                official index files, `text_segment`, ids without the special
                ones, or a list of such. Ids are taken where both are there.

        Raises:
            FileNotFoundError: If the model file is missing.
            ValueError: If there is no text, or no model file to read it, or
                a segment holds something else than ids.
            TypeError: If a text is no string.
        """
        segment, text = results.get('text_segment'), results.get('text')
        if segment is not None:
            several = len(segment) > 0 and isinstance(segment[0], Sequence)
            segments = segment if several else [segment]
            for ids in segments:
                _check_ids(ids)
        elif text is not None:
            several = isinstance(text, list | tuple)
            segments = self._tokenizer().encode_batch(
                text if several else [text]
            )
        else:
            raise ValueError(
                "TokenizeText needs 'text' or 'text_segment'; the sample has "
                f'{sorted(results)}'
            )
        arrays = [
            np.array(Tokenizer.with_special(ids, self.max_tokens), np.int64)
            for ids in segments
        ]
        results['text_ids'] = arrays if several else arrays[0]
        return results

    def _tokenizer(self) -> Tokenizer:
        if self.model_file is None:
            raise ValueError(
                "TokenizeText has no model_file, but the sample has 'text' "
                "and no 'text_segment': set it, such as to 'beit3.spm'"
            )
        return load_tokenizer(self.model_file)


def _check_ids(ids: Sequence[int]) -> None:
    for item in ids:
        if not isinstance(item, Integral) or item < 0:
            raise ValueError(
                f'text_segment must hold token ids >= 0, not {item!r}'
            )


@TRANSFORMS.register_module()
class MaskText(BaseTransform):
    """Masks ids of a text, for masked data modeling and captioning.

    A fixed share of the positions is drawn without replacement. As in the
    official code, `<s>` is never masked; with `mask_special`, `</s>` counts
    as a word, so that a captioner learns where to stop. Of the drawn ids, 80%
    become the mask, 10% stay and 10% become a word drawn at random. The
    official code draws that from all ids above 2, the mask included
    (unilm/beit3/datasets.py); here the mask is no word.

    Args:
        model_file: SentencePiece model, for the id of the mask.
        mask_prob: Share of the ids to predict, rounded, at least one of them.
            It counts the words; with `mask_special` all ids, as in the
            official code, though `<s>` is left out.
        mask_special: Whether `</s>` may be masked: True for captioning, False
            for masked data modeling (0.15 of a text, 0.5 of a text with an
            image: arXiv 2208.10442, section 2.2), also between the documents
            of a packed text.
        mask_id: Given in the place of `model_file`: 64001 for the released
            models.

    Raises:
        ValueError: If `mask_prob` is no share, or not exactly one of
            `model_file` and `mask_id` is given.

    Example:
        >>> dict(
        ...     type='beit3_mm.MaskText',
        ...     model_file='beit3.spm',
        ...     mask_prob=0.7,
        ...     mask_special=True,
        ... )
    """

    def __init__(
        self,
        model_file: str | None = None,
        *,
        mask_prob: float,
        mask_special: bool,
        mask_id: int | None = None,
    ) -> None:
        if not 0 < mask_prob <= 1:
            raise ValueError(f'{mask_prob=} must be above 0 and at most 1')
        if (model_file is None) == (mask_id is None):
            raise ValueError(
                'MaskText needs either model_file or mask_id, not '
                f'{model_file=} and {mask_id=}'
            )
        self.model_file = model_file
        self.mask_prob = mask_prob
        self.mask_special = mask_special
        self.mask_id = mask_id

    def transform(self, results: dict) -> dict:
        """Masks `text_ids`; adds what they were and where to predict.

        Args:
            results: Holds `text_ids`, int64 (L,), of one text.

        Returns:
            `results` with `text_ids` (masked), `target_ids` (as they were)
            and `text_mask`, bool (L,), True = to be predicted. Without
            `mask_special`, an empty text has nothing to predict.

        Raises:
            ValueError: If the sample has several texts, or ids that are not
                below that of the mask.
        """
        target_ids = results['text_ids']
        if isinstance(target_ids, list):
            raise ValueError(
                f'MaskText masks one text; the sample has {len(target_ids)}'
            )
        chosen = self._draw_positions(target_ids)
        text_mask = np.zeros(len(target_ids), bool)
        text_mask[chosen] = True
        results['target_ids'] = target_ids
        results['text_mask'] = text_mask
        results['text_ids'] = self._replace(target_ids, chosen)
        return results

    def _draw_positions(self, ids: np.ndarray) -> np.ndarray:
        """Draws the positions to predict; never the first."""
        candidates = np.arange(1, len(ids))
        share = len(ids) * self.mask_prob
        if not self.mask_special:
            candidates = candidates[ids[1:] != EOS_ID]
            share = len(candidates) * self.mask_prob
        number = min(max(int(share + 0.5), 1), len(candidates))
        return candidates[np.random.permutation(len(candidates))[:number]]

    def _replace(self, ids: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        mask_id = self.mask_id
        if mask_id is None:
            mask_id = load_tokenizer(self.model_file).mask_id
        if ids.max() >= mask_id:
            raise ValueError(
                f'a text holds the id {ids.max()}, which is no word of '
                f'{self.model_file or "a tokenizer"} (mask {mask_id}): its '
                'ids were made with another tokenizer'
            )
        ids, fate = ids.copy(), np.random.rand(len(chosen))
        ids[chosen[fate < MASKED]] = mask_id
        replaced = chosen[fate >= MASKED + KEPT]
        # The words lie between the special ids and the mask; the official
        # range starts at <unk>.
        ids[replaced] = np.random.randint(UNK_ID, mask_id, len(replaced))
        return ids
