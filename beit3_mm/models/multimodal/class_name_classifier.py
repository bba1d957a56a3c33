# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Image classification as retrieval of the class's name."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank, get_world_size
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from beit3_mm.models.heads.common import stack_labels
from beit3_mm.models.multimodal.class_names import (
    read_class_names,
    tokenize_names,
)
from beit3_mm.models.multimodal.embedding import (
    build_backbone,
    check_chunk_size,
    embed_images,
    embed_texts,
)
from beit3_mm.ops.gather import gather_rows
from beit3_mm.registry import MODELS

# Names that are encoded at a time where no chunk_size is given; those of
# ImageNet-21K would not fit at once.
NAMES_OF_A_GROUP = 256


@MODELS.register_module()
class ClassNameClassifier(BaseModel):
    """Finds the name of a class that is closest to an image.

    ImageNet in BEiT-3 (section 3.2, "Image Classification"): a dual encoder,
    with the parameters of `DualEncoder`, that learns to tell the name of an
    image's class from the names of all others.

    The paper does not say with how many names an image is compared in
    training. Here it is all of them, so that the loss is the cross-entropy
    of a classifier: the processes share the work of encoding them, which for
    ImageNet-21K's 22k short names and a batch of 16k images is a few per
    cent of the images'. Where the batch is small beside that, `batch_classes`
    compares with the classes of the images of all processes only. Classes
    may share a name, as ImageNet's two cranes do; they then share a score.

    A prediction takes the names' embeddings from the first one after
    `eval()`; `train()`, `eval()` and loading weights forget them, and
    whoever changes weights in another way calls one of these.

    Args:
        backbone: Arguments of `BEiT3`.
        head: Config of a `ContrastiveHead`.
        class_names: Names in the order of the labels, or where they are
            (`read_class_names`). The paper's authors join the WordNet lemmas
            of a class by ', '.
        model_file: SentencePiece model of the tokenizer. It and the names
            are read at first use.
        label_smoothing: Of the cross-entropy (Table 17: 0.1).
        batch_classes: Compares, in training, with the batch's classes only.
        max_tokens: Longest name in tokens.
        chunk_size: As in `DualEncoder`, of images and of names.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Config of the initialisation.

    Raises:
        ValueError: If `chunk_size` is less than 1, or, in use, if there is
            no image or a label is out of range.

    Example:
        >>> dict(
        ...     type='beit3_mm.ClassNameClassifier',
        ...     backbone=dict(
        ...         img_size=32,
        ...         patch_size=16,
        ...         embed_dims=48,
        ...         num_layers=2,
        ...         num_heads=3,
        ...         feedforward_channels=96,
        ...     ),
        ...     head=dict(type='beit3_mm.ContrastiveHead', embed_dims=48),
        ...     class_names=['tench, Tinca tinca', 'crane'],
        ...     model_file='beit3.spm',
        ... )
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        class_names: Sequence[str] | str,
        model_file: str,
        label_smoothing: float = 0.1,
        batch_classes: bool = False,
        max_tokens: int = 64,
        chunk_size: int | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = build_backbone(backbone)
        self.head = MODELS.build(head)
        self.class_names = class_names
        self.model_file = model_file
        self.label_smoothing = label_smoothing
        self.batch_classes = batch_classes
        self.max_tokens = max_tokens
        self.chunk_size = check_chunk_size(chunk_size)
        self._class_embeddings: Tensor | None = None  # of an evaluation
        self.register_load_state_dict_post_hook(_forget)

    def train(self, mode: bool = True) -> 'ClassNameClassifier':
        """Switches training on or off and forgets the names' embeddings."""
        self._class_embeddings = None
        return super().train(mode)

    def forward(
        self,
        inputs: dict[str, Tensor | None],
        data_samples: Sequence[BaseDataElement] | None = None,
        mode: str = 'tensor',
    ) -> Tensor | dict[str, Tensor] | Sequence[BaseDataElement]:
        """Computes scores, a loss or predictions.

        Args:
            inputs: `image` (B, 3, H, W).
            data_samples: B samples; `gt_label` (one int64) for the loss.
            mode: 'tensor', 'loss' or 'predict'.

        Returns:
            Logits (B, C); `dict(loss=...)`; or the samples with
            `pred_score` (C,), which sum up to 1, and `pred_label` (1,), as
            mmpretrain's metrics read them.
        """
        if mode not in ('tensor', 'loss', 'predict'):
            raise ValueError(f"{mode=} must be 'tensor', 'loss' or 'predict'")
        if inputs.get('image') is None:
            raise ValueError('classification needs an image')
        if mode != 'tensor' and data_samples is None:
            raise ValueError(f'{mode=} needs data_samples')
        image = embed_images(
            self.backbone, self.head, inputs['image'], self.chunk_size
        )
        if mode == 'loss':
            return self.loss(image, data_samples)
        logits = self.head.similarity(
            image, self.class_embeddings(image.device)
        )
        return logits if mode == 'tensor' else _predict(logits, data_samples)

    def loss(
        self, image: Tensor, data_samples: Sequence[BaseDataElement]
    ) -> dict[str, Tensor]:
        """Returns the cross-entropy of embedded images `(B, D)`."""
        labels = stack_labels(data_samples, self.num_classes, image.device)
        if self.batch_classes:
            classes = gather_rows(labels)[0].unique()  # sorted
        else:
            classes = torch.arange(self.num_classes, device=image.device)
        logits = self.head.similarity(image, self._embed_shared(classes))
        target = torch.searchsorted(classes, labels)
        loss = F.cross_entropy(
            logits, target, label_smoothing=self.label_smoothing
        )
        return {'loss': loss}

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self._texts[0])

    @cached_property
    def _texts(self) -> tuple[Tensor, Tensor]:
        names = read_class_names(self.class_names)
        return tokenize_names(names, self.model_file, self.max_tokens)

    def _embed(self, classes: Tensor, chunk_size: int | None) -> Tensor:
        """Embeds the names of classes `(K,)` as `(K, D)`."""
        ids, padding = (x[classes.cpu()] for x in self._texts)
        ids, padding = ids.to(classes.device), padding.to(classes.device)
        return embed_texts(self.backbone, self.head, ids, padding, chunk_size)

    def _embed_shared(self, classes: Tensor) -> Tensor:
        """Embeds the same classes in all processes, each one its share."""
        share = -(-len(classes) // get_world_size())
        own = torch.arange(share) + share * get_rank()
        # Shares are of one size: the last ones repeat a class.
        own = own.clamp(max=len(classes) - 1)
        rows = self._embed(classes[own], self.chunk_size)
        return gather_rows(rows)[0][: len(classes)]

    def class_embeddings(self, device: torch.device) -> Tensor:
        """Returns the names' `(C, D)`; in evaluation they are kept."""
        classes = torch.arange(self.num_classes, device=device)
        if self.training:
            return self._embed(classes, self.chunk_size)
        if self._class_embeddings is None:
            with torch.no_grad():
                self._class_embeddings = self._embed(
                    classes, self.chunk_size or NAMES_OF_A_GROUP
                )
        return self._class_embeddings.to(device)


def _forget(model: ClassNameClassifier, incompatible_keys: Any) -> None:
    model._class_embeddings = None


def _predict(
    logits: Tensor, data_samples: Sequence[BaseDataElement]
) -> Sequence[BaseDataElement]:
    """Puts the scores of `(B, C)` logits into B samples."""
    for sample, scores in zip(data_samples, logits.softmax(-1), strict=True):
        sample.pred_score = scores
        sample.pred_label = scores.argmax(0, keepdim=True)
    return data_samples
