# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import torch
import torch.distributed as dist
from two_processes import run_in_two_processes

from beit3_mm.ops.gather import gather_rows


def rows():
    return torch.arange(12.0).view(4, 3)


def gather_own_half():
    rank = dist.get_rank()
    # Not contiguous, as a view of a larger tensor may be
    own = rows()[2 * rank : 2 * rank + 2].T.contiguous().T.requires_grad_()
    everything, first = gather_rows(own)
    # Each process has another loss.
    (everything.square().sum() * (rank + 1)).backward()
    labels, _ = gather_rows(torch.tensor([rank, 7]))
    try:
        gather_rows(torch.zeros(rank + 1, 3))
        error = None
    except ValueError as caught:
        error = str(caught)
    return everything.detach(), first, own.grad, labels, error


def test_rows_of_two_processes_and_the_sum_of_their_gradients(tmp_path):
    results = run_in_two_processes(gather_own_half, tmp_path)
    for rank, (everything, first, gradient, labels, error) in enumerate(
        results
    ):
        assert torch.equal(everything, rows())
        assert first == 2 * rank
        own = rows()[2 * rank : 2 * rank + 2]
        torch.testing.assert_close(gradient, (1 + 2) * 2 * own)
        assert labels.tolist() == [0, 7, 1, 7]
        assert '[1, 2] rows' in error
        assert 'drop_last=True' in error


def test_one_process_has_all_rows():
    x = rows()
    everything, first = gather_rows(x)
    assert everything is x
    assert first == 0
