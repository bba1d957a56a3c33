# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from mmcv.transforms import BaseTransform

from beit3_mm.datasets.visual_tokens import VisualTokens
from beit3_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadVisualTokens(BaseTransform):
    """Reads the visual tokens of an image instead of finding them again.

    They are of the whole image, squeezed into a square: the student must see
    it so too, neither cropped nor flipped. A flip in front of it is an error,
    as are a flip and a crop that `TwoViews` behind it meets.

    Args:
        folder: What tools/dataset_converters/visual_tokens.py has written of
            this data set.

    Raises:
        FileNotFoundError: If it is no such folder.
        ValueError: If it is not finished, or, in use, of other data, or the
            image was flipped.

    Example:
        >>> dict(type='beit3_mm.LoadVisualTokens', folder='data/tokens')
    """

    def __init__(self, folder: str) -> None:
        self.tokens = VisualTokens(folder)

    def transform(self, results: dict) -> dict | None:
        """Adds `visual_ids`, int64 (N,).

        Args:
            results: Holds `sample_idx` and `img_path`.

        Returns:
            `results`; or None for a damaged image, after `rejected` was added,
            which says so.
        """
        if results.get('flip'):
            raise ValueError(
                f'{results["img_path"]} was flipped, but the visual tokens in '
                f'{self.tokens.folder} are of the image as it is: remove the '
                'flip from the pipeline'
            )
        ids = self.tokens.find(results['sample_idx'], results['img_path'])
        if ids is None:
            results['rejected'] = (
                f'{results["img_path"]} has no visual tokens: it could not be '
                'read when they were made'
            )
            return None
        results['visual_ids'] = ids
        return results
