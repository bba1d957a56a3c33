# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from beit3_mm.layers.attention import attend


@pytest.mark.parametrize('masked', [False, True])
def test_segments_are_attended_to_as_one_sequence(masked):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8) for n in (4, 9, 9))
    mask = None
    if masked:
        mask = torch.rand(2, 1, 4, 9) > 0.5
        mask[..., 6] = True  # every query sees something
        mask[:, :, 0, :5] = False  # and one nothing of the first segment
    expected = F.scaled_dot_product_attention(q, k, v, mask)
    parts = zip(k.split([5, 3, 1], 2), v.split([5, 3, 1], 2))
    torch.testing.assert_close(attend(q, tuple(parts), mask), expected)
    assert torch.equal(attend(q, ((k, v),), mask), expected)


def test_bfloat16_stays_bfloat16():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 6, 8) for _ in range(3))
    whole = attend(q, ((k, v),))
    q, k, v = (x.bfloat16() for x in (q, k, v))
    parts = tuple(zip(k.split(3, 2), v.split(3, 2)))
    out = attend(q, parts)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), whole, rtol=0, atol=0.03)
