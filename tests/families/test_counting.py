"""Counted multiply-accumulates against closed forms, and what is told where there is no formula."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d, nms, roi_align

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.blocks.counting import MacCounter, count_macs

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 10, 7, 8
PRODUCTS = BATCH * HEADS * QUERIES * KEYS * 2 * WIDTH


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


def attend(mask: Tensor | None = None, causal: bool = False) -> Tensor:
    query, key = zeros(BATCH, HEADS, QUERIES, WIDTH), zeros(BATCH, HEADS, KEYS, WIDTH)
    return F.scaled_dot_product_attention(query, key, key, attn_mask=mask, is_causal=causal)


WORK: dict[str, tuple[Callable[[], object], int]] = {
    "linear": (lambda: F.linear(zeros(2, 5, 8), zeros(6, 8)), 10 * 8 * 6),
    "linear with bias": (lambda: F.linear(zeros(2, 5, 8), zeros(6, 8), zeros(6)), 10 * 8 * 6),
    "linear of a vector": (lambda: F.linear(zeros(8), zeros(6, 8)), 8 * 6),
    "attention": (attend, PRODUCTS),
    "attention with a boolean mask": (lambda: attend(zeros(QUERIES, KEYS).bool()), PRODUCTS),
    "attention with a bias": (lambda: attend(zeros(BATCH, HEADS, QUERIES, KEYS)), PRODUCTS),
    "attention with a shared bias": (lambda: attend(zeros(QUERIES, KEYS)), PRODUCTS),
    "causal attention": (lambda: attend(causal=True), PRODUCTS),
    "attention of no queries": (
        lambda: F.scaled_dot_product_attention(
            zeros(1, 1, 0, 4), zeros(1, 1, 5, 4), zeros(1, 1, 5, 4)
        ),
        0,
    ),
    "attention with wider values": (
        lambda: F.scaled_dot_product_attention(
            zeros(1, 2, 5, 4), zeros(1, 2, 6, 4), zeros(1, 2, 6, 9)
        ),
        2 * 5 * 6 * (4 + 9),
    ),
    "bmm": (lambda: torch.bmm(zeros(4, 5, 6), zeros(4, 6, 7)), 4 * 5 * 6 * 7),
    "baddbmm": (lambda: torch.baddbmm(zeros(7), zeros(4, 5, 6), zeros(4, 6, 7)), 4 * 5 * 6 * 7),
    "addbmm": (lambda: torch.addbmm(zeros(7), zeros(4, 5, 6), zeros(4, 6, 7)), 4 * 5 * 6 * 7),
    "addmm": (lambda: torch.addmm(zeros(7), zeros(5, 6), zeros(6, 7)), 5 * 6 * 7),
    "addmm in place": (lambda: zeros(5, 7).addmm_(zeros(5, 6), zeros(6, 7)), 5 * 6 * 7),
    "matmul into": (lambda: torch.mm(zeros(5, 6), zeros(6, 7), out=zeros(5, 7)), 5 * 6 * 7),
    "matrix and vector": (lambda: zeros(5, 6) @ zeros(6), 30),
    "addmv": (lambda: torch.addmv(zeros(5), zeros(5, 6), zeros(6)), 30),
    "dot": (lambda: zeros(6) @ zeros(6), 6),
    "einsum": (lambda: torch.einsum("bnc,nkc->bnk", zeros(2, 5, 4), zeros(5, 6, 4)), 2 * 5 * 6 * 4),
    "convolution": (
        lambda: F.conv2d(zeros(2, 4, 9, 9), zeros(6, 4, 3, 3), zeros(6), stride=2, padding=1),
        2 * 25 * 6 * 4 * 9,
    ),
    "grouped convolution": (
        lambda: F.conv2d(zeros(2, 4, 9, 9), zeros(6, 2, 3, 3), groups=2),
        2 * 49 * 6 * 2 * 9,
    ),
    "convolution in time": (
        lambda: F.conv3d(zeros(1, 3, 4, 8, 8), zeros(5, 3, 2, 4, 4), stride=(2, 4, 4)),
        2 * 2 * 2 * 5 * 3 * 32,
    ),
    "transposed convolution": (
        lambda: F.conv_transpose2d(zeros(2, 4, 5, 5), zeros(4, 6, 2, 2), stride=2),
        2 * 25 * 4 * 6 * 4,
    ),
    "deformable convolution": (
        lambda: deform_conv2d(zeros(2, 4, 9, 9), zeros(2, 18, 7, 7), zeros(6, 4, 3, 3)),
        2 * 49 * 6 * 4 * 9,
    ),
    "what is free": (
        lambda: (
            F.layer_norm(zeros(4, 8), [8]).softmax(-1) * 2 + F.gelu(zeros(4, 8)),
            F.interpolate(zeros(1, 2, 4, 4), scale_factor=2, mode="bilinear"),
            roi_align(zeros(1, 2, 8, 8), [zeros(3, 4)], 7),
            nms(zeros(3, 4), zeros(3), 0.5),
        ),
        0,
    ),
}


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("name", WORK)
def test_counts_are_the_closed_forms(
    name: str, mode: Callable[[], AbstractContextManager[None]]
) -> None:
    work, expected = WORK[name]
    with mode():
        counted = count_macs(work)
    assert counted == expected
    assert type(counted) is int


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
def test_layers_of_torch_that_take_a_fast_path_are_counted(
    mode: Callable[[], AbstractContextManager[None]],
) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    enabled = torch.backends.mha.get_fastpath_enabled()
    with mode():
        counted = count_macs(lambda: layer(zeros(2, 5, 8)))
    assert counted == 2 * (5 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 25 * 8)
    assert torch.backends.mha.get_fastpath_enabled() is enabled


def test_results_are_those_of_work_that_is_not_counted() -> None:
    query, key = torch.randn(2, 1, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    alone = F.scaled_dot_product_attention(query, key, key)
    with MacCounter():
        counted = F.scaled_dot_product_attention(query, key, key)
    assert torch.equal(alone, counted)


def test_sections_hold_their_part_and_may_nest_and_repeat() -> None:
    with MacCounter() as counter:
        torch.mm(zeros(2, 3), zeros(3, 4))
        for _ in range(2):
            with counter.section("outer"):
                torch.mm(zeros(2, 3), zeros(3, 4))
                with counter.section("inner"):
                    attend()
        with counter.section("free"):
            zeros(3).exp()
    assert counter.macs == 3 * 24 + 2 * PRODUCTS
    assert counter.sections == {"outer": 48 + 2 * PRODUCTS, "inner": 2 * PRODUCTS, "free": 0}
    assert not counter.uncounted


def test_a_counter_goes_on_where_it_is_entered_again() -> None:
    counter = MacCounter()
    for _ in range(2):
        with counter:
            torch.mm(zeros(2, 3), zeros(3, 4))
        torch.mm(zeros(2, 3), zeros(3, 4))
    assert counter.macs == 48


def test_an_operator_without_a_formula_is_told_and_takes_one() -> None:
    @torch.library.custom_op("maskvd_tests::product", mutates_args=())
    def product(first: Tensor, second: Tensor) -> Tensor:
        return first @ second

    def work() -> object:
        return product(zeros(2, 3), zeros(3, 4)) @ zeros(4, 5)

    with MacCounter() as counter:
        work()
    assert counter.macs == 40
    assert counter.uncounted == {"maskvd_tests::product": 1}
    with pytest.raises(UsageError, match="maskvd_tests::product cannot be counted; give"):
        count_macs(work)
    formulas = {"maskvd_tests::product": lambda first, second, out: first[1] * out[0] * out[1]}
    assert count_macs(work, formulas) == 24 + 40


def test_an_exception_ends_the_counting_and_keeps_the_count() -> None:
    enabled, counter = torch.backends.mha.get_fastpath_enabled(), MacCounter()
    with pytest.raises(ZeroDivisionError), counter, counter.section("half"):
        torch.mm(zeros(2, 3), zeros(3, 4))
        _ = 1 / 0
    torch.mm(zeros(2, 3), zeros(3, 4))
    assert (counter.macs, counter.sections["half"]) == (24, 24)
    assert torch.backends.mha.get_fastpath_enabled() is enabled
