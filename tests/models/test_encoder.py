# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from beit3_mm.models.beit3 import BEiT3
from beit3_mm.models.encoder import MultiwayEncoder

WIDTHS = dict(
    embed_dims=24, num_layers=3, num_heads=3, feedforward_channels=48
)
PAPER = dict(multiway_attention=False, sub_norm=False, num_vl_layers=2)


def randomised(encoder):
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder.double().eval()


def per_token_reference(encoder, x, num_vision, num_vl_layers):
    """The paper's form, one token and one expert at a time."""
    length, dims = x.shape
    num_layers = len(encoder.layers)
    num_heads = encoder.layers[0].attention.num_heads
    for index, layer in enumerate(encoder.layers):
        attention = layer.attention
        normed = [layer.attention_norm['shared'](x[t]) for t in range(length)]
        q, k, v = (
            torch.stack([proj['shared'](token) for token in normed]).view(
                length, num_heads, -1
            )
            for proj in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        attended = []
        for t in range(length):
            heads = []
            for h in range(num_heads):
                scores = k[:, h] @ q[t, h] / math.sqrt(dims / num_heads)
                heads.append(scores.softmax(0) @ v[:, h])
            attended.append(attention.out_proj['shared'](torch.cat(heads)))
        x = x + torch.stack(attended)
        fused = index >= num_layers - num_vl_layers
        out = []
        for t in range(length):
            name = 'vision' if t < num_vision else 'language'
            if fused and 0 < num_vision < length:
                name = 'vision_language'
            ffn = layer.ffn[name]
            hidden = F.gelu(ffn.fc1(ffn.norm(x[t])))
            out.append(x[t] + ffn.fc2(hidden))
        x = torch.stack(out)
    return torch.stack([encoder.norm['shared'](token) for token in x])


@pytest.mark.parametrize('num_vision', [0, 4, 7])
def test_papers_form_equals_a_loop_over_tokens(num_vision):
    torch.manual_seed(0)
    encoder = randomised(MultiwayEncoder(**WIDTHS, **PAPER))
    x = torch.randn(1, 7, 24, dtype=torch.double)
    ours, _ = encoder(x, num_vision)
    reference = per_token_reference(encoder, x[0], num_vision, 2)
    torch.testing.assert_close(ours[0], reference, rtol=0, atol=1e-10)


def test_giant_has_the_parameters_of_table_2(archs):
    with torch.device('meta'):
        model = BEiT3(**archs.giant)

    def millions(*parts):
        count = sum(
            parameter.numel()
            for name, parameter in model.named_parameters()
            if all(part in name for part in parts) and 'norm' not in name
        )
        return round(count / 1e6)

    assert millions('ffn.vision.') == 692
    assert millions('ffn.language.') == 692
    assert millions('ffn.vision_language.') == 52
    assert millions('attention.') == 317
    # 1.9B with the text embedding, the visual head and an untied LM head
    body = sum(parameter.numel() for parameter in model.parameters())
    heads = 1408 * (8192 + 64010)
    assert round((body + heads) / 1e9, 1) == 1.9


@pytest.fixture
def archs(request):
    root = request.config.rootpath
    return Config.fromfile(root / 'configs/_base_/archs.py').archs


@pytest.mark.parametrize('form', [{}, PAPER])
def test_gradients_reach_every_parameter(form):
    torch.manual_seed(0)
    encoder = MultiwayEncoder(**WIDTHS, **form)
    x = torch.randn(2, 7, 24)
    loss = sum(encoder(x, n)[0].square().sum() for n in (0, 3, 7))
    loss.backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        # The key's bias cancels in the softmax.
        if 'k_proj' not in name or not name.endswith('bias'):
            assert parameter.grad.abs().max() > 0, name


def test_vision_alone_has_no_other_expert():
    encoder = MultiwayEncoder(**WIDTHS, **PAPER, modalities=('vision',))
    names = list(encoder.state_dict())
    assert any('ffn.vision.' in name for name in names)
    assert not any('language' in name for name in names)


def test_activation_checkpointing_changes_no_gradient():
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        encoder = MultiwayEncoder(
            **WIDTHS, drop_path_rate=0.5, with_cp=with_cp
        )
        x = torch.randn(4, 7, 24)
        torch.manual_seed(1)  # drop path must be replayed
        encoder(x, 3)[0].square().sum().backward()
        gradients.append([p.grad for p in encoder.parameters()])
    for plain, checkpointed in zip(*gradients):
        torch.testing.assert_close(plain, checkpointed)


def test_drop_path_rises_linearly_over_the_depth():
    encoder = MultiwayEncoder(**WIDTHS, drop_path_rate=0.4)
    rates = [layer.drop_path.rate for layer in encoder.layers]
    assert rates == pytest.approx([0.0, 0.2, 0.4])


def test_beit_initialisation_scales_output_matrices_by_depth():
    torch.manual_seed(0)
    encoder = MultiwayEncoder(**WIDTHS, **PAPER)
    # the paper's range, of its 1408 channels
    full = 0.02 * math.sqrt(1408 / WIDTHS['embed_dims'])
    for depth, layer in enumerate(encoder.layers, start=1):
        limit = full / math.sqrt(2 * depth)
        for matrix in (
            layer.attention.out_proj['shared'].weight,
            layer.ffn['vision'].fc2.weight,
        ):
            assert 0.9 * limit < matrix.abs().max() <= limit
        for matrix in (
            layer.attention.q_proj['shared'].weight,
            layer.ffn['language'].fc1.weight,
        ):
            assert 0.9 * full < matrix.abs().max() <= full


def test_magneto_initialisation_scales_all_but_query_and_key():
    torch.manual_seed(0)
    encoder = MultiwayEncoder(
        embed_dims=192, num_layers=4, num_heads=3, feedforward_channels=768
    )
    gain = math.sqrt(math.log(8))
    layer = encoder.layers[2]
    square = math.sqrt(2 / (192 + 192))
    wide = math.sqrt(2 / (192 + 768))
    for matrix, std in (
        (layer.attention.q_proj['vision'], square),
        (layer.attention.k_proj['language'], square),
        (layer.attention.v_proj['vision'], gain * square),
        (layer.attention.out_proj['vision'], gain * square),
        (layer.ffn['vision'].fc1, gain * wide),
        (layer.ffn['language'].fc2, gain * wide),
    ):
        assert matrix.weight.std().item() == pytest.approx(std, rel=0.03)


def test_errors():
    with pytest.raises(ValueError, match=r'embed_dims=24 .*num_heads=5'):
        MultiwayEncoder(**dict(WIDTHS, num_heads=5))
    with pytest.raises(ValueError, match='num_vl_layers=4'):
        MultiwayEncoder(**WIDTHS, num_vl_layers=4)
    with pytest.raises(ValueError, match='audio'):
        MultiwayEncoder(**WIDTHS, modalities=('audio',))
