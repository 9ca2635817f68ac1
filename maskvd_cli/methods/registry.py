"""The methods by name; installed packages add theirs under the entry-point group."""

from __future__ import annotations

from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.core.registry import Registry
from maskvd_cli.methods.base import Method, Params

JOINT = "+"


class MethodRegistry(Registry[Method[Params]]):
    """Methods by name; also `A+B`, of two that are registered, where `composing` knows how.

    `names` are those that are registered.
    """

    def knows(self, name: str) -> bool:
        """Tell whether a method is called so, or it is made of two that are registered."""
        return name in self._all() or all(part in self._all() for part in _parts(name))

    def load(self, name: str) -> type[Method[Params]]:
        """Return a method. Raises UsageError, with the reason, where two make no combination."""
        parts = _parts(name)
        if name in self._all() or not self.knows(name):
            return super().load(name)
        from maskvd_cli.methods.composing import combined, why_not  # noqa: PLC0415 - heavy

        first, second = map(super().load, parts)
        if (reason := why_not(first, second)) is not None:
            pairs = self.pairs()
            others = [pair for pair in pairs if set(_parts(pair)) & set(parts)] or pairs
            raise UsageError(
                f"{name} is no method: {reason}", remedy=f"use one of {', '.join(others)}"
            )
        return combined(first, second)

    def why_broken(self, name: str) -> str | None:
        """Return why a method cannot be loaded, also one that two registered ones would make."""
        try:
            self.load(name)
        except MaskvdError as error:
            return str(error) if self.knows(name) else None
        return None

    def pairs(self) -> list[str]:
        """Return the names of all combinations that are not registered themselves."""
        from maskvd_cli.methods.composing import why_not  # noqa: PLC0415 - heavy

        loaded = {name: kind for name in self.names() if (kind := self._whole(name)) is not None}
        names = (
            f"{one}{JOINT}{other}"
            for one, first in loaded.items()
            for other, second in loaded.items()
            if why_not(first, second) is None
        )
        return [name for name in names if name not in self._all()]

    def _whole(self, name: str) -> type[Method[Params]] | None:
        """Return a registered method that is no combination; None too where it is broken."""
        try:
            return None if JOINT in name else super().load(name)
        except MaskvdError:
            return None


def _parts(name: str) -> list[str]:
    """Return the two halves of a name; anything else has itself alone."""
    parts = name.split(JOINT)
    return parts if len(parts) == 2 else [name]


methods = MethodRegistry(
    "method",
    Method,
    "maskvd.methods",
    {
        "ats": "maskvd_cli.methods.ats:ATS",
        "boxes-k": "maskvd_cli.methods.boxes_k:BoxesK",
        "dense": "maskvd_cli.methods.dense:Dense",
        "dense-unpadded": "maskvd_cli.methods.dense_unpadded:DenseUnpadded",
        "eventful": "maskvd_cli.methods.eventful:Eventful",
        "evit": "maskvd_cli.methods.evit:EViT",
        "maskvd": "maskvd_cli.methods.maskvd:MaskVD",
        "maskvd+evit": "maskvd_cli.methods.maskvd_evit:MaskVDEViT",
        "oracle": "maskvd_cli.methods.oracle:Oracle",
        "random": "maskvd_cli.methods.random_tokens:RandomTokens",
        "rgtp": "maskvd_cli.methods.rgtp:RGTP",
        "stgt": "maskvd_cli.methods.stgt:STGT",
        "svit": "maskvd_cli.methods.svit:SViT",
        "tome": "maskvd_cli.methods.tome:ToMe",
        "vpp": "maskvd_cli.methods.vpp:VPP",
    },
)


def baseline() -> type[Method[Params]]:
    """Return the method that all others are compared with: the one whose role is `baseline`.

    Raises MaskvdError unless exactly one is registered.
    """
    known = [method for method in methods.working() if method.role == "baseline"]
    if len(known) != 1:
        names = ", ".join(method.name for method in known) or "none"
        raise MaskvdError(
            f"one method must have the role baseline, and {len(known)} have it ({names})",
            remedy="mend or uninstall the package that provides another",
        )
    return known[0]
