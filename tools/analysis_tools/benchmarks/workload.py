# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A model of any size on inputs of any size, in training and inference."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from beit3_mm.models.heads import VQAHead
from beit3_mm.models.multimodal import FusionEncoder
from benchmarks.measure import Case, Setting

NUM_ANSWERS = 3129  # VQAv2's (unilm/beit3, modeling_finetune.py)
FIRST_WORD = 3  # ids below are special


@dataclass(frozen=True)
class Workload:
    """Questions about images, answered by an encoder with random weights.

    Args:
        arch: Arguments of `BEiT3`; its `img_size` does not count.
        image_size: Height and width of an image in pixels.
        text_length: Tokens of a question, none of which is padding.
        batch_size: Images with a question each.
    """

    arch: dict
    image_size: int
    text_length: int
    batch_size: int

    @property
    def tokens(self) -> int:
        """Tokens of one sample, of image and text."""
        side = self.image_size // self.arch['patch_size']
        return 1 + side**2 + self.text_length

    def parameters(self) -> int:
        """Counts the parameters of the model, without building it."""
        with torch.device('meta'):
            return sum(x.numel() for x in self._model().parameters())

    def training(
        self,
        setting: Setting,
        wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    ) -> Case:
        """Returns a training step: forward, backward and AdamW.

        Args:
            setting: Device and precision.
            wrap: Puts something around the model, such as DDP.
        """

        def build() -> Callable[[], Any]:
            model = wrap(self._model().to(setting.device).train())
            trained = [x for x in model.parameters() if x.requires_grad]
            # A rate of 0, so that every step is the same work
            optimizer = torch.optim.AdamW(trained, lr=0.0)
            inputs, samples = self._batch(setting.device)
            enabled = setting.dtype == torch.bfloat16

            def step() -> Tensor:
                optimizer.zero_grad()
                with torch.autocast(
                    setting.device.type, torch.bfloat16, enabled
                ):
                    losses = model(inputs, samples, mode='loss')
                losses['loss'].backward()
                optimizer.step()
                return losses['loss'].detach()

            return step

        return Case('training step', build, self._words(), self.batch_size)

    def inference(self, setting: Setting) -> Case:
        """Returns the answers to a batch of questions."""

        def build() -> Callable[[], Any]:
            model = self._model().to(setting.device).eval()
            inputs, _ = self._batch(setting.device)
            return setting.inference(model, inputs)

        return Case('inference', build, self._words(), self.batch_size)

    def warm_up(self, setting: Setting) -> None:
        """Trains and infers once on next to nothing.

        What a process loads then would count as memory of the first case.

        Args:
            setting: Device and precision.
        """
        small = replace(
            self,
            image_size=self.arch['patch_size'],
            text_length=1,
            batch_size=1,
        )
        for case in (small.training(setting), small.inference(setting)):
            case.build()()

    def _model(self) -> FusionEncoder:
        torch.manual_seed(0)
        dims = self.arch['embed_dims']
        return FusionEncoder(
            dict(self.arch, img_size=self.image_size, final_norm=False),
            dict(type=VQAHead, embed_dims=dims, num_answers=NUM_ANSWERS),
        )

    def _batch(
        self, device: torch.device
    ) -> tuple[dict[str, Tensor], list[BaseDataElement]]:
        torch.manual_seed(0)
        size, count = self.image_size, self.batch_size
        words = self.arch.get('vocab_size', 64010)
        inputs = dict(
            image=torch.randn(count, 3, size, size),
            text_ids=torch.randint(
                FIRST_WORD, words, (count, self.text_length)
            ),
        )
        label, score = torch.tensor([0]), torch.tensor([1.0])
        samples = [
            BaseDataElement(gt_labels=label, gt_scores=score)
            for _ in range(count)
        ]
        return {name: x.to(device) for name, x in inputs.items()}, samples

    def _words(self) -> str:
        size = self.image_size
        return (
            f'{self.batch_size} x {size} x {size} px with '
            f'{self.text_length} words'
        )
