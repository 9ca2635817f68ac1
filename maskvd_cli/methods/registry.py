"""The methods by name; installed packages add theirs under the entry-point group."""

from __future__ import annotations

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.registry import Registry
from maskvd_cli.methods.base import Method, Params

methods: Registry[Method[Params]] = Registry(
    "method",
    Method,
    "maskvd.methods",
    {
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
