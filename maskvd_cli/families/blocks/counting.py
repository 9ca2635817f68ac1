"""Multiply-accumulates counted from the operations that torch executes.

torch's flop counter knows the formulas of most operators, but which ones depends on its version:
2.14 counts attention on a CPU as zero. Its formulas are taken where they exist; those of attention
and of some rarer products are ours, so that every supported torch counts the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from maskvd_cli.core.errors import UsageError

Formula = Callable[..., int]
Shape = tuple[int, ...]


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    """Queries (..., n, c), keys (..., m, c), values (..., m, v); masks are not counted."""
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _matrix_vector(matrix: Shape, *_: object, **__: object) -> int:
    return prod(matrix)


def _added_matrix_vector(_own: Shape, matrix: Shape, *_: object, **__: object) -> int:
    return prod(matrix)


def _added_product(_own: Shape, first: Shape, second: Shape, *_: object, **__: object) -> int:
    return prod(first) * second[-1]


def _deformable(_images: Shape, weight: Shape, *_: object, out: Shape, **__: object) -> int:
    """Sampling is not counted, as in pooling."""
    return out[0] * prod(out[2:]) * prod(weight)


_FORMULAS: dict[str, Formula] = {
    "aten::scaled_dot_product_attention": _attention,
    "aten::dot": _matrix_vector,
    "aten::vdot": _matrix_vector,
    "aten::mv": _matrix_vector,
    "aten::addmv": _added_matrix_vector,
    "aten::addbmm": _added_product,
    "aten::_addmm_activation": _added_product,
    "torchvision::deform_conv2d": _deformable,
}
# The kernels behind attention (for a CPU, fused, overrideable, ...) differ between versions.
_KERNEL_OF_ATTENTION = re.compile(r"aten::_scaled_dot_product_\w+(?<!_backward)")
# Words in the names of torch's operators that multiply: without a formula they are not free.
_PRODUCT = re.compile(
    r"(^|_)(\w*mm|mv|matmul|linear|trilinear|convolution|attention|encoder|rnn|lstm)(_|$)"
)
# Operators of other packages that multiply nothing by weights; the import calls the last one.
_FREE = frozenset(
    f"torchvision::{name}" for name in ("nms", "roi_align", "roi_pool", "_cuda_version")
)


class MacCounter(TorchDispatchMode):
    """Counts the multiply-accumulates of all that torch executes in this thread while entered.

    `macs` is the total so far, `sections` that of each named `section`. Counted are matrix
    products, convolutions and attention (two products, whatever its mask); not biases,
    additions, norms, softmax, pooling. Counts follow shapes, so they do not depend on the device.

    `formulas` gives operators of a plug-in their cost, by qualified name (`mylib::product`): a
    function of the arguments, tensors replaced by their shapes, and of the result's shape `out`.
    `uncounted` counts executions of operators that may multiply but have no formula: where there
    are any, `macs` is a lower bound.
    """

    def __init__(self, formulas: Mapping[str, Formula] | None = None) -> None:
        super().__init__()
        self.macs = 0
        self.sections: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self._formulas = {**_FORMULAS, **(formulas or {})}
        self._fast_path: list[bool] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler, which takes seconds, to keep it out of here."""
        return False

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Add what is counted inside to `sections[name]` too; sections may nest."""
        before = self.macs
        try:
            yield
        finally:
            self.sections[name] += self.macs - before

    def __enter__(self) -> Self:
        # torch's fast path of transformer layers is one operator that shows no products.
        self._fast_path.append(torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        super().__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        super().__exit__(*problem)
        torch.backends.mha.set_fastpath_enabled(self._fast_path.pop())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Execute one operator and count it, or take it apart where it is a composite."""
        kwargs = kwargs or {}
        # An operator that works in place, `addmm_`, costs what its other form does.
        name = func._schema.name.rstrip("_")
        formula = self._formula(name)
        if formula is None:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
            if _KERNEL_OF_ATTENTION.fullmatch(name):
                formula = _on_shapes(_attention)
        result = func(*args, **kwargs)
        if formula is not None:
            self.macs += formula(*args, **kwargs, out_val=result)
        elif _may_multiply(name):
            self.uncounted[name] += 1
        return result

    def _formula(self, name: str) -> Formula | None:
        """Return the formula of an operator as a function of its arguments and `out_val`."""
        if name in self._formulas:
            return _on_shapes(self._formulas[name])
        space, _, word = name.partition("::")
        packet = getattr(getattr(torch.ops, space), word, None)
        theirs = cast("Formula | None", flop_registry.get(packet))
        if theirs is None:
            return None
        return lambda *args, **kwargs: theirs(*args, **kwargs) // 2


def count_macs(work: Callable[[], object], formulas: Mapping[str, Formula] | None = None) -> int:
    """Run `work` once and return its multiply-accumulates, counted as `MacCounter` does.

    Raises UsageError where an operator has no formula, rather than taking it for free.
    """
    with MacCounter(formulas) as counter:
        work()
    if counter.uncounted:
        names = ", ".join(sorted(counter.uncounted))
        raise UsageError(
            f"multiply-accumulates of {names} cannot be counted",
            remedy="give MacCounter a formula for each",
        )
    return counter.macs


def _on_shapes(formula: Formula) -> Formula:
    """Return a formula of shapes as one of tensors and `out_val`."""

    def of_tensors(*args: Any, out_val: Any, **kwargs: Any) -> int:
        args, kwargs, out = tree_map(_shape_of, (args, kwargs, out_val))
        return formula(*args, **kwargs, out=out)

    return of_tensors


def _shape_of(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else value


def _may_multiply(name: str) -> bool:
    """Tell whether an operator without a formula may multiply: by its name, or a stranger."""
    space, _, word = name.partition("::")
    if space in ("aten", "prim", "prims"):
        return _PRODUCT.search(word) is not None
    return name not in _FREE
