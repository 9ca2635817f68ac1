"""Cases of learned selection: SViT's and VPP's selectors, and VPP's mapping-selective module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.methods.association import FrameBefore, MappingSelective, similarity
from maskvd_cli.methods.selectors import TokenSelector, kept_of
from maskvd_cli.verify.cases import Agreement, Golden, precisions

# Our names of a selector's layers, by the ends of theirs; other layers of theirs have no use.
_SELECTOR = {"norm": "norm", "mlp.fc1": "mlp_in", "mlp.fc2": "mlp_out"}
_MAPPING = {
    "norm_selector": "selector.norm",
    "selector.fc1": "selector.mlp_in",
    "selector.fc2": "selector.mlp_out",
}


def verify_selector(case: Golden, agreement: Agreement) -> None:
    """Log-probabilities of one selector, and the tokens that it keeps, noise as the case has it."""
    config = case.config
    agreement.method = f"selector of {str(config['case']).partition('_')[0]}"
    for dtype, name in precisions(case, "logprob"):
        selector = _loaded(TokenSelector(config["dim"], config["hidden"]), case, _SELECTOR, dtype)
        tokens = torch.from_numpy(case.arrays["x"]).to(dtype)
        # Version 1 has a class token, which is not asked and always kept.
        lead = int(config.get("version") == 1)
        found = selector(tokens[:, lead:])
        agreement.compare(found, case.arrays[name])
        noise = None
        if config.get("deterministic"):
            case.arrays.pass_over("gumbel")
        else:
            # Of draws that were also made for a class token, those behind it.
            noise = _noise(case, "gumbel", dtype)[:, -found.shape[1] :] / config["tau"]
        kept = kept_of(found, noise, ties=noise is not None)
        wide = dtype == torch.float64 or not case.has("selected_f32")
        expected = case.arrays["selected" if wide else "selected_f32"]
        always = kept.new_ones(len(kept), expected.shape[1] - kept.shape[1])
        agreement.select(torch.cat([always, kept], dim=1), expected)
        soft = "soft_f64" if dtype == torch.float64 else "soft"
        if case.has(soft):
            agreement.compare(found.exp()[..., :1], case.arrays[soft])


def verify_mapping(case: Golden, agreement: Agreement) -> None:
    """The mapping-selective module on one frame: association, scores and kept tokens."""
    config, arrays = case.config, case.arrays
    agreement.method = "vpp map"
    grid = Size(config["H"], config["W"])
    for dtype, name in precisions(case, "logprob"):
        suffix = name.removeprefix("logprob")
        made = MappingSelective(config["dim"], config["hid"])
        module = _loaded(made, case, _MAPPING, dtype)
        tokens, entering, deep = (
            torch.from_numpy(arrays[part]).to(dtype) for part in ("x", "x_ref", "x_map")
        )
        active = torch.ones(grid.area, dtype=torch.bool)
        if case.has("sel"):
            active = torch.from_numpy(arrays["sel"])
        draws = iter([_noise(case, part, dtype) for part in ("gumbel_assoc", "gumbel_score")])
        mapped = module(
            tokens,
            FrameBefore(entering, deep, active),
            grid,
            config["keep_ratio"],
            lambda *shape, draws=draws: next(draws).reshape(shape),
            config["tau_matching"],
        )
        for part, ours in (
            ("mapped", deep[mapped.source]),
            ("logprob", mapped.log_probabilities),
            ("smooth", mapped.smooth),
            ("soft", mapped.soft),
        ):
            agreement.compare(ours, arrays[f"{part}{suffix}"])
        if case.has(f"phi{suffix}"):
            phi = similarity(tokens, entering, grid, active if case.has("sel") else None)
            _compare_with_gaps(agreement, phi, arrays[f"phi{suffix}"])
        agreement.select(mapped.source, arrays[f"assoc{suffix}"])
        agreement.select(mapped.kept, arrays[f"kept_mask{suffix}"])
        agreement.select(mapped.kept.nonzero().squeeze(1), arrays["kept"])


def _loaded(module: nn.Module, case: Golden, names: Mapping[str, str], dtype: torch.dtype) -> Any:
    """Return the module with the case's weights under our names."""
    weights: dict[str, Tensor] = {}
    for name, tensor in case.weights.tensors.items():
        layer, _, part = name.rpartition(".")
        if layer in names:
            weights[f"{names[layer]}.{part}"] = tensor.to(dtype)
    module.to(dtype)
    load_into(module, weights, case.name)
    return module


def _noise(case: Golden, name: str, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(case.arrays[name]).to(dtype)


def _compare_with_gaps(agreement: Agreement, found: Tensor, expected: Any) -> None:
    """Compare arrays of which some values are -inf, in both the same ones."""
    gap = found.isneginf()
    if not torch.equal(gap, torch.from_numpy(expected).isneginf()):
        found = torch.full_like(found, torch.nan)
    agreement.compare(found.masked_fill(gap, 0.0), np.where(gap.numpy(), 0.0, expected))
