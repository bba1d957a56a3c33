# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A frozen model that goes along with another and is no part of it."""

from collections.abc import Callable

from torch import Tensor, nn


class WithFrozen(nn.Module):
    """Base of models that ask a frozen one what is to be learnt.

    In a tuple it is no sub-module: neither saved, nor wrapped, nor trained.
    It is moved to the devices and types that the model is moved to.
    """

    _frozen: tuple[nn.Module, ...] = ()

    def _freeze(self, module: nn.Module) -> None:
        """Takes a module, frozen from now on."""
        # One by one: `eval` of mmpretrain's ViT returns nothing.
        module.eval()
        module.requires_grad_(False)
        self._frozen = (module,)

    def _apply(
        self, fn: Callable[[Tensor], Tensor], recurse: bool = True
    ) -> 'WithFrozen':
        """Moves the frozen model along with this one."""
        for module in self._frozen:
            module._apply(fn, recurse)
        return super()._apply(fn, recurse)
