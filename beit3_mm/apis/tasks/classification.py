# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Classification, by a linear classifier or by the names of classes."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from beit3_mm.apis.predictions import SHOWN, Choice
from beit3_mm.apis.tasks.base import (
    Batch,
    Images,
    Query,
    Task,
    Texts,
    images_alone,
)
from beit3_mm.models.multimodal.class_names import read_class_names
from beit3_mm.models.multimodal.embedding import embed_images


class Classification(Task):
    """Classifies images with a classifier of mmpretrain's."""

    gives_embeddings = True

    def queries(self, images: Images, texts: Texts) -> list[Query]:
        """Makes a sample of each image."""
        return images_alone(images, texts, 'classification')

    def predict(self, batches: Iterator[Batch]) -> Iterator[Choice]:
        """Yields the likeliest classes; `image` is what the last layer reads.

        Raises:
            ValueError: If there are not as many names as classes.
        """
        head, meta = self.model.head, self.model.dataset_meta
        for queries, inputs, samples in batches:
            feats = self.model.extract_feat(inputs)
            pooled = head.pre_logits(feats).float().cpu().numpy()
            samples = head.predict(feats, samples)
            for query, sample, row in zip(queries, samples, pooled):
                yield Choice(
                    images=query.images,
                    embeddings={'image': row},
                    **likeliest(sample.pred_score, meta.get('classes')),
                )


class NameClassification(Task):
    """Finds the name that is closest to an image."""

    gives_embeddings = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.names = read_class_names(model.class_names)

    def queries(self, images: Images, texts: Texts) -> list[Query]:
        """Makes a sample of each image."""
        return images_alone(images, texts, 'classification')

    def predict(self, batches: Iterator[Batch]) -> Iterator[Choice]:
        """Yields the likeliest classes.

        Embeddings are `image` and its `similarities` with all names, in the
        order of the classes.
        """
        model = self.model
        for queries, inputs, _ in batches:
            image = embed_images(
                model.backbone, model.head, inputs['image'], model.chunk_size
            )
            classes = model.class_embeddings(image.device)
            scores = model.head.similarity(image, classes).softmax(-1)
            cosines = (image @ classes.T).float().cpu().numpy()
            rows = image.float().cpu().numpy()
            for query, score, row, cosine in zip(
                queries, scores, rows, cosines
            ):
                yield Choice(
                    images=query.images,
                    embeddings={'image': row, 'similarities': cosine},
                    **likeliest(score, self.names),
                )


def likeliest(scores: Tensor, names: Sequence[str] | None) -> dict[str, list]:
    """Returns `names` and `scores` of the likeliest, the best first.

    Args:
        scores: Of all C, `(C,)`.
        names: Their names; None calls them by number.

    Raises:
        ValueError: If there are not C names.
    """
    if names is not None and len(names) != len(scores):
        raise ValueError(
            f'the model tells {len(scores)} classes apart, but the config has '
            f'{len(names)} names of them: it must name those that the model '
            'was trained with'
        )
    best = scores.float().topk(min(SHOWN, len(scores)))
    return {
        'names': [
            f'class {i}' if names is None else names[i]
            for i in best.indices.tolist()
        ],
        'scores': best.values.tolist(),
    }
