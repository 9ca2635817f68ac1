"""What trains selectors gives the very features of the method that runs them, and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.base import FrameContext
from maskvd_cli.methods.learning import KEPT_SHARES, Learner, Learnt, straight_through
from maskvd_cli.methods.selectors import Noise, drawn
from maskvd_cli.methods.svit import SViT, SViTLearner, SViTLearning
from maskvd_cli.methods.vpp import VPP, VPPLearner, VPPLearning

from .test_svit_vpp import ARCH, FRAMES, GRID, RELATIVE, N, backbone

SVIT = {"blocks": (1, 3, 4), "targets": (0.7, 0.5, 0.3)}
MAPPING = {
    "blocks": (2, 4), "deep_block": 3, "keep_rate": 0.6, "targets": (0.5, 0.4)
}  # fmt: skip


def svit(arch: Any = ARCH, **changes: Any) -> SViTLearner:
    return SViTLearner(SViT, SViTLearning(**(SVIT | changes)), arch)


def vpp(arch: Any = ARCH, **changes: Any) -> VPPLearner:
    return VPPLearner(VPP, VPPLearning(**(MAPPING | changes)), arch)


def quiet(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def module_of(learner: Learner[Any]) -> Any:
    return drawn(learner.new_module, 3).double()


def run(learner: Learner[Any], module: Any, vit: VisionTransformer, noise: Noise = quiet) -> Learnt:
    """Run two clips side by side: the frames, and the same in another order."""
    clips = [FRAMES[: learner.frames], FRAMES[-learner.frames :]]
    frames = [torch.cat(pair) for pair in zip(*clips, strict=True)]
    return learner.run(module, vit, frames, GRID, noise)


@pytest.mark.parametrize("arch", [ARCH, RELATIVE], ids=["class-token", "relative"])
@pytest.mark.parametrize("make", [svit, vpp])
def test_training_without_noise_is_the_method_itself(make: Any, arch: Any) -> None:
    learner, vit = make(arch), backbone(arch)
    module = module_of(learner)
    learnt = run(learner, module, vit)
    size = Size(GRID.rows * 4, GRID.cols * 4)
    with torch.no_grad():
        for number, clip in enumerate((FRAMES[: learner.frames], FRAMES[-learner.frames :])):
            method = learner.running(module, vit)
            for index, tokens in enumerate(clip):
                found = method.step(tokens, FrameContext(index, size, size, 4))
                assert method.trace is not None
                assert min(method.trace.layers[-2:]) > 0 and method.trace.tokens < N
                expected = learnt.features[index][[number]]
                torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("make", [svit, vpp])
def test_gradients_reach_every_weight_and_no_frozen_backbone(make: Any) -> None:
    learner, vit = make(), backbone()
    module = module_of(learner)
    learnt = run(learner, module, vit)
    (learnt.losses[KEPT_SHARES] + learnt.features[-1].pow(2).sum()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert all(parameter.grad is None for parameter in vit.parameters())


def test_features_alone_reach_the_selectors() -> None:
    """The detector's losses teach the choice, not only the shares that are to be kept."""
    learner, module = vpp(), None
    module = module_of(learner)
    run(learner, module, backbone()).features[-1].pow(2).sum().backward()
    for part in (module.map, *module.selectors.values()):
        assert sum(float(p.grad.abs().sum()) for p in part.parameters()) > 0


def test_the_association_has_a_gradient() -> None:
    """What the frame before knew is learnt through the product with the one-hot matrix."""
    learner, vit = vpp(), backbone()
    first = FRAMES[0].clone().requires_grad_()
    module = module_of(learner)
    frames = [first, FRAMES[1], FRAMES[2]]
    learner.run(module, vit, frames, GRID, quiet).features[1].pow(2).sum().backward()
    assert first.grad is not None and first.grad.abs().sum() > 0


def test_the_loss_of_svit() -> None:
    learnt = run(svit(weight=4.0), module_of(svit()), backbone())
    shares = [float(learnt.kept[block].detach()) for block in (1, 3, 4)]
    apart = [(share - target) ** 2 for share, target in zip(shares, (0.7, 0.5, 0.3), strict=True)]
    assert float(learnt.losses[KEPT_SHARES].detach()) == pytest.approx(4 * sum(apart) / 3)


def test_the_loss_of_vpp() -> None:
    """The first frame has no map: its mean is over the selectors alone."""
    learner = vpp(weight=40.0, map_weight=10.0, map_target=0.45)
    loss = learner._loss(torch.tensor(0.5), {2: torch.tensor(0.6), 4: torch.tensor(0.2)})
    assert float(loss) == pytest.approx(40 * (10 * 0.05**2 + 0.1**2 + 0.2**2) / 12)
    first = learner._loss(None, {2: torch.tensor(0.6), 4: torch.tensor(0.2)})
    assert float(first) == pytest.approx(40 * (0.1**2 + 0.2**2) / 2)
    learnt = run(learner, module_of(learner), backbone())
    assert set(learnt.kept) == {1, 2, 4}
    assert float(learnt.kept[1].detach()) == pytest.approx(int(0.6 * N) / N)
    assert float(learnt.kept[4].detach()) <= float(learnt.kept[2].detach()) <= 1


def test_a_clip_that_keeps_no_token_stays_finite() -> None:
    learner = svit(RELATIVE)
    module = module_of(learner)
    with torch.no_grad():
        for selector in module.values():
            selector.mlp_out.bias.copy_(torch.tensor([-50.0, 50.0]))
    learnt = run(learner, module, backbone(RELATIVE))
    assert float(learnt.kept[3].detach()) == 0
    learnt.features[0].pow(2).sum().backward()
    assert learnt.features[0].isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_straight_through_is_exactly_the_choice() -> None:
    soft = torch.rand(1000, requires_grad=True)
    made = straight_through(soft.detach() > 0.5, soft)
    assert set(made.tolist()) == {0.0, 1.0}
    made.sum().backward()
    assert soft.grad is not None and (soft.grad == 1).all()


def test_noise_decides_in_training() -> None:
    learner, module = svit(), module_of(svit())
    generator = torch.Generator().manual_seed(0)

    def loud(*shape: int) -> Tensor:
        return 5 * torch.randn(shape, generator=generator, dtype=torch.float64)

    one, other = (run(learner, module, backbone(), loud).features[0] for _ in range(2))
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        (SViTLearning, {"blocks": (1, 2)}, "9 targets for 2 blocks"),
        (VPPLearning, {"targets": (0.5,)}, "1 targets for 3 blocks"),
        (VPPLearning, {"reach": 1}, "greater than or equal to 2"),
        (SViTLearning, {"targets": (1.5,) * 9}, "less than or equal to 1"),
        (SViTLearning, {"blocks": (1, 1)}, "a block stands there twice"),
    ],
)
def test_settings_that_cannot_be(kind: Any, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        kind(**changes)
