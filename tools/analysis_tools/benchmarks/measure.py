# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Time, peak memory and FLOPs of one or several ways to compute something."""

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.utils import ProgressBar
from torch import Tensor
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from benchmarks.memory import PeakMemory

# The first matrix of base's feed-forward network, on 64 x 64 tokens.
MATMUL_SHAPE = (4096, 768, 3072)
MATMUL_REPEATS = 3  # one alone is too short on a busy machine
# torch counts the attention of GPUs and leaves out the CPU's.
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda *shapes, **_: sdpa_flop_count(*shapes[:3])
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda *shapes, **_: sdpa_backward_flop_count(*shapes[:4])
    ),
}
CLOCKS = {
    'wall': time.perf_counter,
    # Of all threads; what else runs on the machine does not count.
    'cpu': time.process_time,
}
WARM_UP = 2  # the optimizer's state exists from the second step on


class OutputsDifferError(ValueError):
    """Two ways to compute the same do not agree, so neither is timed."""


@dataclass(frozen=True)
class Setting:
    """Where and how precisely to compute.

    Args:
        device: Of models and inputs.
        dtype: torch.float32, or torch.bfloat16 for autocast.
        clock: A key of `CLOCKS`.
    """

    device: torch.device
    dtype: torch.dtype
    clock: str = 'wall'

    def inference(
        self, function: Callable[..., Any], *args: Any
    ) -> Callable[[], Any]:
        """Returns a call of `function(*args)` without gradients."""
        enabled = self.dtype == torch.bfloat16

        @torch.no_grad()
        def run() -> Any:
            with torch.autocast(self.device.type, torch.bfloat16, enabled):
                return function(*args)

        return run


@dataclass(frozen=True)
class Case:
    """Something to measure.

    Args:
        name: What it is.
        build: Returns the function to be timed. What it allocates, such as a
            model, counts as memory of the case.
        inputs: What the function works on, in words.
        images: Number of images that a call works through, if it does.
        flops: Floating-point operations of a call; by default its matrix
            multiplications, convolutions and attention are counted.
        dtype: Of the case, where it is not the setting's.
    """

    name: str
    build: Callable[[], Callable[[], Any]]
    inputs: str
    images: int | None = None
    flops: int | None = None
    dtype: torch.dtype | None = None


@dataclass
class Measurement:
    """What was measured of a case.

    Args:
        case: The case.
        flops: Floating-point operations of a call.
        memory: Peak above the start in bytes, None where it is unknown.
        seconds: Time of each call.
        matmul: Throughput in FLOP/s of matrix multiplications just before
            and after each call; empty for a case without FLOPs.
    """

    case: Case
    flops: int
    memory: int | None
    seconds: list[float] = field(default_factory=list)
    matmul: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median time of a call in seconds."""
        return statistics.median(self.seconds)

    @property
    def shares(self) -> list[float]:
        """Throughput of each call as a share of the matrix multiplications'
        around it.
        """
        return [
            self.flops / seconds / matmul
            for seconds, matmul in zip(self.seconds, self.matmul)
        ]


class Matmul:
    """The machine's matrix multiplication, to compare throughput with.

    Args:
        setting: Device and dtype of the matrices.
    """

    def __init__(self, setting: Setting) -> None:
        rows, inner, columns = MATMUL_SHAPE
        options = {'device': setting.device, 'dtype': setting.dtype}
        self.left = torch.rand(rows, inner, **options)
        # As the weight of a linear layer lies in memory.
        self.right = torch.rand(columns, inner, **options).T
        self.out = torch.empty(rows, columns, **options)
        self.flops = 2 * rows * inner * columns * MATMUL_REPEATS
        self()

    def __call__(self) -> None:
        """Multiplies a few times."""
        for _ in range(MATMUL_REPEATS):
            torch.mm(self.left, self.right, out=self.out)


def measure(
    cases: Sequence[Case],
    setting: Setting,
    repeats: int,
    tolerance: float | None = None,
) -> list[Measurement]:
    """Measures cases in turns, so that what else runs here meets them all.

    Args:
        cases: One, or several ways to compute the same.
        setting: Device and precision.
        repeats: Number of timed calls of each.
        tolerance: Largest `difference` between the outputs of several ways;
            None for a single case.

    Raises:
        OutputsDifferError: If outputs differ by more. Nothing is timed then.
    """
    progress = ProgressBar((WARM_UP + repeats) * len(cases), file=sys.stderr)
    functions, outputs, results = [], [], []
    for case in cases:
        with PeakMemory(setting.device) as memory:
            function = case.build()
            counted = count_flops(function)
            output = function()
        flops = counted if case.flops is None else case.flops
        functions.append(function)
        outputs.append(output)
        results.append(Measurement(case, flops, memory.peak))
        progress.update(WARM_UP)
    if tolerance is not None:
        _require_agreement(cases, outputs, tolerance)
    matmul = Matmul(setting) if any(r.flops for r in results) else None
    for _ in range(repeats):
        for function, result in zip(functions, results):
            _time(function, result, matmul, setting)
            progress.update()
    print(file=sys.stderr)
    return results


def _time(
    function: Callable[[], Any],
    result: Measurement,
    matmul: Matmul | None,
    setting: Setting,
) -> None:
    """Adds a call to a result, and the matrix multiplications around it."""
    if not result.flops:
        result.seconds.append(_seconds(function, setting))
        return
    before = _seconds(matmul, setting)
    result.seconds.append(_seconds(function, setting))
    after = _seconds(matmul, setting)
    result.matmul.append(2 * matmul.flops / (before + after))


def _seconds(function: Callable[[], Any], setting: Setting) -> float:
    _synchronize(setting.device)
    clock = CLOCKS[setting.clock]
    start = clock()
    function()
    _synchronize(setting.device)
    return clock() - start


def _synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def count_flops(function: Callable[[], Any]) -> int:
    """Counts matrix multiplications, convolutions and attention of a call,
    backward passes included.
    """
    with FlopCounterMode(
        display=False, custom_mapping=CPU_ATTENTION
    ) as counter:
        function()
    return counter.get_total_flops()


def _require_agreement(
    cases: Sequence[Case], outputs: Sequence[Any], tolerance: float
) -> None:
    for case, output in zip(cases[1:], outputs[1:]):
        largest = difference(outputs[0], output)
        if not largest <= tolerance:  # nan too
            raise OutputsDifferError(
                f'{case.name!r} and {cases[0].name!r} do not compute the '
                f'same: their outputs differ by {largest:.2g} of the largest '
                f'value, more than {tolerance:.2g}; nothing was timed'
            )


def difference(expected: Any, actual: Any) -> float:
    """Compares tensors, or tuples of them.

    Returns:
        The largest absolute difference of a tensor, divided by its largest
        absolute value; inf if shapes or indices differ.
    """
    if not isinstance(expected, Tensor):
        pairs = zip(expected, actual, strict=True)
        # The maximum of torch keeps nan.
        return float(torch.tensor([difference(*p) for p in pairs]).max())
    if expected.shape != actual.shape:
        return math.inf
    if not expected.is_floating_point():
        return 0.0 if torch.equal(expected, actual) else math.inf
    if not expected.numel():
        return 0.0
    scale = expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return float((actual - expected).abs().max() / scale)
