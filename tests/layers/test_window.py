# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from beit3_mm.layers.attention import MultiwayAttention
from beit3_mm.layers.window import RelativePositions, TokenMap


@pytest.mark.parametrize('grid', [(4, 4), (5, 7), (2, 3), (8, 4)])
def test_join_undoes_split(grid):
    x = torch.randn(2, grid[0] * grid[1], 3)
    token_map = TokenMap(grid, window_size=4)
    windows = token_map.split(x, torch.zeros(3))
    assert windows.shape[1:] == (16, 3)
    assert torch.equal(token_map.join(windows), x)


def test_windows_are_neighbourhoods_filled_at_the_end():
    x = torch.arange(6.0).view(1, 6, 1)  # 2 x 3
    windows = TokenMap((2, 3), 2).split(x, torch.tensor([9.0]))
    expected = [[0.0, 1.0, 3.0, 4.0], [2.0, 9.0, 5.0, 9.0]]
    assert windows.squeeze(-1).tolist() == expected


def zero_padded_reference(attention, x, grid, size):
    """Attention as ViTDet writes it: pad the normed map, then project."""
    height, width = grid
    pad_h, pad_w = -height % size, -width % size
    x = F.pad(x.view(len(x), height, width, -1), (0, 0, 0, pad_w, 0, pad_h))
    out = torch.zeros_like(x)
    for top in range(0, height + pad_h, size):
        for left in range(0, width + pad_w, size):
            rows = slice(top, top + size)
            columns = slice(left, left + size)
            window = x[:, rows, columns]
            y, _ = attention(window.flatten(1, 2), size * size)
            out[:, rows, columns] = y.view(window.shape)
    return out[:, :height, :width].flatten(1, 2)


@pytest.mark.parametrize('experts', [('shared',), ('vision',)])
@pytest.mark.parametrize('grid', [(5, 7), (3, 9), (6, 6)])
def test_window_attention_equals_zero_padded_windows(grid, experts):
    torch.manual_seed(0)
    attention = MultiwayAttention(12, 3, experts, sub_norm=True).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)  # biases, too, must matter
    x = torch.randn(2, grid[0] * grid[1], 12, dtype=torch.double)
    ours = attention.forward_map(x, TokenMap(grid, 3))
    reference = zero_padded_reference(attention, x, grid, 3)
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-12)


def test_window_as_large_as_the_map_is_global():
    torch.manual_seed(0)
    attention = MultiwayAttention(12, 3, ('vision',), sub_norm=False)
    x = torch.randn(2, 16, 12)
    windowed = attention.forward_map(x, TokenMap((4, 4), 4))
    torch.testing.assert_close(windowed, attention(x, 16)[0])


@pytest.mark.parametrize('grid', [(3, 3), (2, 4)])
def test_relative_positions_equal_the_sum_over_axes(grid):
    torch.manual_seed(0)
    module = RelativePositions(max(grid), 5)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    q = torch.randn(2, 3, grid[0] * grid[1], 5)
    # Tables of another length are interpolated; here both axes get their own.
    tables = [
        F.interpolate(table.T[None], 2 * side - 1, mode='linear')[0].T
        if len(table) != 2 * side - 1
        else table
        for table, side in zip((module.height, module.width), grid)
    ]
    bias = module(q, grid)
    for i in range(grid[0] * grid[1]):
        for j in range(grid[0] * grid[1]):
            dy = i // grid[1] - j // grid[1] + grid[0] - 1
            dx = i % grid[1] - j % grid[1] + grid[1] - 1
            expected = q[:, :, i] @ (tables[0][dy] + tables[1][dx])
            torch.testing.assert_close(bias[:, :, i, j], expected)


def test_relative_positions_start_without_effect():
    q = torch.randn(1, 2, 9, 4)
    assert not RelativePositions(3, 4)(q, (3, 3)).any()
