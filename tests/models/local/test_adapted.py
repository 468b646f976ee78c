"""Large layers with an adapter give what peft gives; other layers stay peft's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rlaif.models.local.adapted import joined_adapters

NUM_INPUTS, NUM_OUTPUTS = 200, 400


class Net(nn.Module):
    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.large = nn.Linear(NUM_INPUTS, NUM_OUTPUTS, bias=bias)
        self.small = nn.Linear(NUM_OUTPUTS, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.small(self.large(x).tanh())
        return out


def make_net(*, bias: bool = False, name: str = "default", **options: object) -> Net:
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(0)
    net = Net(bias=bias).requires_grad_(False)
    config = LoraConfig(r=4, lora_alpha=12, target_modules=["large", "small"], **options)
    inject_adapter_in_model(config, net, adapter_name=name)
    for layer in (net.large, net.small):
        nn.init.normal_(layer.lora_B[name].weight)
    return net


def outputs_and_gradients(net: Net, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_(True)
    out = net(x)
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    return [out.detach(), *torch.autograd.grad(out.square().sum(), [x, *trained])]


def is_joined(layer: nn.Module) -> bool:
    return "forward" in layer.__dict__


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, NUM_INPUTS), (2, 3, NUM_INPUTS), (2, 1, NUM_INPUTS)])
def test_outputs_and_gradients_are_those_of_peft(bias: bool, shape: tuple[int, ...]) -> None:
    net, x = make_net(bias=bias), torch.randn(shape)
    expected = outputs_and_gradients(net, x)
    with joined_adapters(net):
        assert is_joined(net.large)
        found = outputs_and_gradients(net, x)
    assert len(found) == len(expected) == 6
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_after_the_block_the_layers_are_peft_s_again() -> None:
    net = make_net()
    with pytest.raises(KeyError), joined_adapters(net):
        raise KeyError
    assert not is_joined(net.large)


def test_a_small_layer_keeps_peft_s_own_pass() -> None:
    net = make_net()
    with joined_adapters(net):
        assert not is_joined(net.small)


@pytest.mark.parametrize("options", [{"use_dora": True}, {"lora_dropout": 0.1}, {"lora_bias": True}], ids=str)
def test_an_adapter_that_does_more_keeps_peft_s_own_pass(options: dict[str, object]) -> None:
    net = make_net(bias=True, **options)
    with joined_adapters(net):
        assert not is_joined(net.large)


def train_the_base(net: Net) -> None:
    net.large.get_base_layer().weight.requires_grad_(True)


def merge(net: Net) -> None:
    net.large.merge()


def switch_off(net: Net) -> None:
    net.large.enable_adapters(False)


def use_half_precision(net: Net) -> None:
    net.bfloat16()


@pytest.mark.parametrize("change", [train_the_base, merge, switch_off, use_half_precision])
def test_a_layer_that_is_trained_merged_switched_off_or_narrow_keeps_peft_s_own_pass(
    change: Callable[[Net], None],
) -> None:
    net = make_net()
    change(net)
    with joined_adapters(net):
        assert not is_joined(net.large)
