# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Images and texts that belong together."""

from collections.abc import Iterator, Sequence

import numpy as np

from beit3_mm.apis.images import InputImage
from beit3_mm.apis.predictions import Ranking
from beit3_mm.apis.tasks.base import Batch, Images, Query, Task, Texts


class Retrieval(Task):
    """Ranks texts for each image, then images for each text."""

    gives_embeddings = True

    def queries(self, images: Images, texts: Texts) -> list[Query]:
        """Makes a sample of each image and of each text, apart.

        Raises:
            ValueError: If there is neither.
        """
        if not images and not texts:
            raise ValueError('retrieval needs images, texts or both')
        alone = [Query((image,)) for image in images]
        return alone + [Query((), text) for text in texts]

    def predict(self, batches: Iterator[Batch]) -> Iterator[Ranking]:
        """Yields the ranking for each image, then that for each text.

        Each image and text is encoded once. Where there are only images or
        only texts, nothing is ranked. Embeddings have length 1; they are
        `image` with its `similarities` to all texts, or `text`.
        """
        images, texts, rows = [], [], {'image': [], 'text': []}
        for queries, inputs, _ in batches:
            found = self.model(inputs, mode='tensor')
            for kind in rows:
                if getattr(found, kind) is not None:
                    rows[kind].extend(
                        getattr(found, kind).float().cpu().numpy()
                    )
            images += [query.images[0] for query in queries if query.images]
            texts += [query.text for query in queries if not query.images]
        similarities = np.zeros((len(images), len(texts)), np.float32)
        if images and texts:
            similarities = np.stack(rows['image']) @ np.stack(rows['text']).T
        for image, row, cosines in zip(images, rows['image'], similarities):
            found = {'image': row}
            if texts:
                found['similarities'] = cosines
            yield _rank(texts, cosines, found, images=(image,))
        for text, row, cosines in zip(texts, rows['text'], similarities.T):
            yield _rank(images, cosines, {'text': row}, text=text)


def _rank(
    candidates: Sequence[InputImage | str],
    similarities: np.ndarray,
    embeddings: dict[str, np.ndarray],
    images: tuple[InputImage, ...] = (),
    text: str | None = None,
) -> Ranking:
    order = np.argsort(-similarities, kind='stable')
    return Ranking(
        images=images,
        text=text,
        embeddings=embeddings,
        indices=order.tolist(),
        candidates=[candidates[i] for i in order],
        similarities=similarities[order].tolist(),
    )
