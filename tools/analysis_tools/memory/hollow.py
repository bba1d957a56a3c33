# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Models whose large parts have shapes and no memory.

A fake tensor of torch has a shape, a type and a device, and nothing inside.
What computes the same whatever the values are, such as an encoder, runs on
fake tensors in no time and no memory. Between the parts of dense models values
matter (boxes, matches): there they get noise for what a hollow part gives.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import Function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from memory.tracker import MemoryTracker

# Of models that go through whole, as no step looks at a value
HOLLOW_MODELS = (
    *('beit3_mm.FusionEncoder', 'beit3_mm.DualEncoder'),
    *('beit3_mm.ImageToText', 'beit3_mm.MaskedDataModeling'),
)
# Parts of other models, whose `forward` never looks at a value
HOLLOW_PARTS = (
    *('backbone', 'neck', 'rpn_head', 'roi_head.bbox_head'),
    *('roi_head.mask_head', 'decode_head', 'auxiliary_head'),
)
LARGE = 2**16  # elements; what is smaller may be a table of numbers
ITEM = torch.ops.aten._local_scalar_dense.default
REAL_STD = 0.02  # of a real part's large weights


class _SkipLarge(TorchDispatchMode):
    """Gives fake tensors where large ones are asked for."""

    def __init__(self, fakes: FakeTensorMode) -> None:
        super().__init__()
        self.fakes = fakes

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [
            x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)
        ]
        if func is ITEM and isinstance(tensors[0], FakeTensor):
            return 0  # `trunc_normal_` asks if anything is left to be drawn
        if tensors:
            return func(*args, **kwargs)
        with self.fakes:
            out = func(*args, **kwargs)
        if isinstance(out, Tensor) and out.numel() >= LARGE:
            return out
        return func(*args, **kwargs)


def build_hollow(cfg: Config, tracker: MemoryTracker) -> nn.Module:
    """Builds the model of a config, on fake tensors as far as it can be.

    Args:
        cfg: Has the model.
        tracker: Counts what a hollow part gives as that, not as noise.
    """
    fakes = FakeTensorMode(allow_non_fake_inputs=True)
    with _SkipLarge(fakes):
        model = MODELS.build(cfg.model)
    if cfg.model.type in HOLLOW_MODELS:
        hollow = set(model.modules())
    else:
        hollow = {x for part in _parts(model) for x in part.modules()}
        for part in _parts(model):
            _fill_outputs(part, 'forward', fakes, tracker)
    tokenizer = frozen_tokenizer(model)
    if tokenizer is not None:
        hollow |= set(tokenizer.modules())
        _fill_outputs(tokenizer, 'encode_ids', fakes, tracker)
        start_tokenizer(tokenizer)
    for module in hollow.union(model.modules()):
        if module in hollow:
            _hollow_out(module, fakes)
        else:
            _make_real(module)
    return model


def _parts(model: nn.Module) -> Iterator[nn.Module]:
    for path in HOLLOW_PARTS:
        part = model
        for name in path.split('.'):
            part = getattr(part, name, None)
        if isinstance(part, nn.ModuleList):
            yield from part
        elif part is not None:
            yield part


def frozen_tokenizer(model: nn.Module) -> nn.Module | None:
    """Returns the frozen model that goes along with another, if any does."""
    return getattr(model, 'visual_tokenizer', None)


def start_tokenizer(tokenizer: nn.Module) -> None:
    """Lets a random visual tokenizer be used without its file."""
    tokenizer._is_init = True
    tokenizer.quantizer.started.fill_(1)


def _hollow_out(module: nn.Module, fakes: FakeTensorMode) -> None:
    """Makes a module's own parameters fake tensors.

    Buffers may be read: a flag, a table of indices.
    """
    for name, tensor in module.named_parameters(recurse=False):
        module._parameters[name] = _like(tensor, _fake(tensor, fakes))


def _make_real(module: nn.Module) -> None:
    """Gives a module's own fake parameters and buffers values."""
    for table in (module._parameters, module._buffers):
        for name, tensor in table.items():
            if isinstance(tensor, FakeTensor):
                table[name] = _like(tensor, _noise(tensor))


def _fake(tensor: Tensor, fakes: FakeTensorMode) -> Tensor:
    with fakes:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device='cpu')


def _noise(tensor: Tensor, std: float = REAL_STD) -> Tensor:
    real = torch.zeros(tensor.shape, dtype=tensor.dtype)
    return real.normal_(std=std) if real.is_floating_point() else real


def _like(tensor: Tensor, values: Tensor) -> Tensor:
    """Returns a parameter if the tensor is one, else the values."""
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(values, tensor.requires_grad)
    return values


def _fill_outputs(
    module: nn.Module,
    method: str,
    fakes: FakeTensorMode,
    tracker: MemoryTracker,
) -> None:
    """Lets a method return noise for the fake tensors that it computes."""
    compute = getattr(module, method)

    def call(*args: Any, **kwargs: Any) -> Any:
        return tree_map(fill, compute(*args, **kwargs))

    def fill(value: Any) -> Any:
        if not isinstance(value, FakeTensor):
            return value
        return _Fill.apply(value, fakes, tracker)

    setattr(module, method, call)


class _Fill(Function):
    """Noise in the place of a fake tensor; a fake gradient backward."""

    @staticmethod
    def forward(
        ctx: Any, fake: Tensor, fakes: FakeTensorMode, tracker: MemoryTracker
    ) -> Tensor:
        """Returns the noise, which counts as the same memory."""
        ctx.fakes, ctx.tracker = fakes, tracker
        with tracker.paused():
            noise = _noise(fake, 1.0)
        tracker.share(noise, fake)
        return noise

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Returns a gradient that counts as the same memory."""
        with ctx.tracker.paused():
            fake = _fake(grad, ctx.fakes)
        ctx.tracker.share(fake, grad)
        return fake, None, None
