# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Heads and data must have the same number of classes."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from beit3_mm.registry import HOOKS


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Compares the heads' `num_classes` with the classes of the data.

    It does so before training, for the validation data too, and before
    testing: with too few, a run ends at the first object of a higher label,
    and a segmentor, whose masks do not show all classes, not even then.

    For detectors and segmentors; an RPN, whose one class is "object", is left
    out.

    Raises:
        ValueError: If they differ.
    """

    def before_train(self, runner: Runner) -> None:
        """Checks the training data, and the validation data if there are."""
        _check(runner.model, runner.train_dataloader)
        if runner.val_loop is not None:
            _check(runner.model, runner.val_dataloader)

    def before_val(self, runner: Runner) -> None:
        """Checks the validation data."""
        _check(runner.model, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Checks the test data."""
        _check(runner.model, runner.test_dataloader)


def _check(model: nn.Module, loader: DataLoader) -> None:
    classes = loader.dataset.metainfo.get('classes')
    if classes is None:
        return
    for name, module in model.named_modules():
        number = getattr(module, 'num_classes', None)
        if name.endswith('rpn_head') or number in (None, len(classes)):
            continue
        # mmseg's segmentors repeat the number of their head
        if number in [
            getattr(m, 'num_classes', None) for m in module.children()
        ]:
            continue
        raise ValueError(
            f'{name} has num_classes={number}, but '
            f'{type(loader.dataset).__name__} has {len(classes)} classes, '
            f'from {classes[0]!r} to {classes[-1]!r}: set num_classes of '
            'every head, and metainfo=dict(classes=...) of every data set'
        )
