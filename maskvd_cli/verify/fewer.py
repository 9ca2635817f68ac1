"""Cases of ToMe and ATS: matching alone, a whole classifier that merges, one block that samples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.vitdet.renaming import to_our_names
from maskvd_cli.methods.ats import ATS, ATSParams
from maskvd_cli.methods.dropping import Travelling
from maskvd_cli.methods.eventful import Eventful, EventfulParams
from maskvd_cli.methods.matching import match, mergeable
from maskvd_cli.methods.merging import Merging
from maskvd_cli.methods.tome import ToMeParams
from maskvd_cli.verify.cases import PRECISIONS, Agreement, Golden, GoldenError, precisions
from maskvd_cli.verify.plain import class_logits, embedded, grid_of

# Eventful Transformers' names of a block's layers.
_LAYERS = {
    "input_layer_norm": "norm1",
    "qkv": "qkv",
    "projection": "projection",
    "mlp_layer_norm": "norm2",
    "mlp_1": "mlp_in",
    "mlp_2": "mlp_out",
}


def verify_matching(case: Golden, agreement: Agreement) -> None:
    """ToMe's matching on given metrics, tokens and sizes: what is merged, and how it goes back."""
    config = case.config
    lead = int(config["class_token"]) + int(config["distill_token"])
    agreement.method = f"tome r={config['r']}"
    for dtype, suffix in PRECISIONS:
        metric, x, size = (
            torch.from_numpy(case.arrays[name]).to(dtype) for name in ("metric", "x", "size")
        )
        count = min(int(config["r"]), mergeable(metric.shape[1], lead))
        matching = match(metric, count, lead)
        ones = torch.ones_like(size[..., 0])
        first, first_size = matching.merged(x, ones)
        merged, new_size = matching.merged(x, size[..., 0])
        found = {
            "merge_mean": first,
            "merged_first": first,
            "size_first": first_size[..., None],
            "merged": merged,
            "new_size": new_size[..., None],
            "source": _source(matching.to, matching.own.shape[1], dtype),
        }
        if not config["distill_token"]:
            # The authors' way back passes over the swap that a second token makes.
            found["unmerged"] = matching.unmerged(merged)
        for name, ours in found.items():
            if case.has(name + suffix):
                agreement.compare(ours, case.arrays[name + suffix])


def _source(to: Tensor, left: int, dtype: torch.dtype) -> Tensor:
    """Return which tokens each of those that are left stands for, (B, T', T) of 0 and 1."""
    return one_hot(to, left).mT.to(dtype)


def verify_merging(case: Golden, agreement: Agreement) -> None:
    """ToMe's own classifier: blocks, sizes, which token stands for which, logits."""
    proportional, head = bool(case.config["prop_attn"]), case.weights.tensors
    counts = _schedule(case.config)
    agreement.method = f"tome r={'-'.join(map(str, counts))}"
    case = replace(case, weights=to_our_names(head, where=case.name))
    for dtype, suffix in PRECISIONS:
        if not case.has(f"logits{suffix}"):
            continue
        model = embedded(case, dtype)
        images = torch.from_numpy(case.arrays["images"]).to(dtype)
        grid = grid_of(case, images)
        moving = Merging.begin(model.backbone, model.embedding(images), grid)
        for number, (block, count) in enumerate(zip(model.backbone.blocks, counts, strict=True)):
            moving = moving.through(block, grid, count, proportional=proportional)
            agreement.compare(moving.tokens, case.arrays[f"block{suffix}/{number}"])
            agreement.compare(moving.sizes[..., None].to(dtype), case.arrays[f"size/{number}"])
        if case.has(f"source{suffix}"):
            own = torch.cat([torch.zeros_like(moving.owner[:, :1]), moving.owner], dim=1)
            source = _source(own, moving.tokens.shape[1], dtype)
            agreement.compare(source, case.arrays[f"source{suffix}"])
        norm = model.backbone.final_norm
        assert norm is not None
        logits = class_logits(norm(moving.tokens), head)
        agreement.compare(logits, case.arrays[f"logits{suffix}"])


def _schedule(config: Mapping[str, Any]) -> list[int]:
    """Return how many tokens merge in each block: of a number, of a pair with inflection, a list.

    Raises GoldenError for anything else.
    """
    r, depth = config["r"], int(config["depth"])
    if isinstance(r, int):
        return ToMeParams(r=r, inflection=float(config.get("inflection", 0.0))).schedule(depth)
    if isinstance(r, list) and len(r) == depth:
        return [int(count) for count in r]
    if isinstance(r, list) and len(r) == 2:
        return ToMeParams(r=r[0], inflection=float(r[1])).schedule(depth)
    raise GoldenError(f"r {r} is no schedule of {depth} blocks")


def verify_sampling(case: Golden, agreement: Agreement) -> None:
    """One block of ATS over the frames of a clip, alone or with Eventful's gates.

    Tokens that stay are compared slot by slot, class token first.
    """
    policy = case.config.get("policy")
    agreement.method = "ats" if policy is None else "eventful+ats"
    for dtype, output in precisions(case, "outputs"):
        run = _Sampled(case, dtype) if policy is None else _Gated(case, dtype)
        run.ats.clips_for_heads = bool(case.config.get("published_sum_over_batch"))
        for index, frame in enumerate(torch.from_numpy(case.arrays["inputs"]).to(dtype)):
            found, slots = run(frame)
            agreement.compare(found, case.arrays[output][index])
            first = torch.zeros_like(slots[:, :1])
            agreement.select(torch.cat([first, slots + 1], dim=1), case.arrays[f"ats/{index}"])
            for name, chosen in run.gates.items():
                if case.has(f"index/{index}/{name}_gate"):
                    agreement.select(chosen, case.arrays[f"index/{index}/{name}_gate"])


class _Sampled:
    """A block of ATS alone, with the list of slots of the frame before."""

    def __init__(self, case: Golden, dtype: torch.dtype) -> None:
        config = case.config
        arch = _one_block(config)
        backbone = VisionTransformer(arch).to(dtype).eval()
        self.block = backbone.blocks[0]
        named = {_our_name(name): value.to(dtype) for name, value in case.weights.tensors.items()}
        load_into(self.block, named, case.name)
        self.ats = ATS(ATSParams(fraction=config["ats_fraction"]), backbone)
        self.kept = self.ats.params.kept_of(int(config["tokens"]) - 1, 0, lead=1)
        self.slots: Tensor | None = None
        self.gates: dict[str, Tensor | None] = {}

    def __call__(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output (B, 1 + k, D) of a frame (B, 1 + n, D), and its slots (B, k)."""
        grid = Size(1, frame.shape[1] - 1)
        index = torch.arange(grid.area).expand(len(frame), -1)
        moving = Travelling(frame, index)
        moving, self.slots = self.ats.sampled(moving, self.block, grid, self.kept, self.slots)
        return moving.tokens, self.slots


class _Gated(_Sampled):
    """A block of ATS with token gates."""

    def __init__(self, case: Golden, dtype: torch.dtype) -> None:
        super().__init__(case, dtype)
        policy = _policy(case.config["policy"])
        self.eventful = Eventful(policy, self.ats.backbone)
        self.eventful.sampler = self.ats.sampler()

    def __call__(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        grid = Size(1, frame.shape[1] - 1)
        found, self.gates, _ = self.eventful.through(0, self.block, frame, grid)
        rows = self.eventful.rows(0)
        assert rows is not None
        return found, rows[:, 1:] - 1


def _policy(told: object) -> EventfulParams:
    """Return a policy of gates: so many tokens, or a share of them, also in percent.

    Raises GoldenError for anything else.
    """
    if isinstance(told, int):
        return EventfulParams(r=told)
    digits = re.search(r"\d*\.?\d+", str(told))
    if digits is None:
        raise GoldenError(f"policy {told} is none that gates have")
    share = float(digits.group())
    return EventfulParams(policy="top_fraction", fraction=share if share <= 1 else share / 100)


def _our_name(name: str) -> str:
    layer, _, part = name.rpartition(".")
    return f"{_LAYERS.get(layer, layer)}.{part}"


def _one_block(config: Mapping[str, Any]) -> ViTArch:
    side = Size(1, int(config["tokens"]) - 1)
    return ViTArch(
        name="golden",
        description="",
        dim=config["dim"],
        heads=config["heads"],
        depth=1,
        patch=1,
        global_blocks=(0,),
        window=side,
        position_table=side,
        relative_table=None,
        mlp_ratio=config["mlp_ratio"],
        class_token=True,
    )
