"""The methods by name; installed packages add theirs under the entry-point group."""

from __future__ import annotations

from maskvd_cli.core.registry import Registry
from maskvd_cli.methods.base import Method, Params

methods: Registry[Method[Params]] = Registry(
    "method",
    Method,
    "maskvd.methods",
    {
        "dense": "maskvd_cli.methods.dense:Dense",
        "dense-unpadded": "maskvd_cli.methods.dense_unpadded:DenseUnpadded",
        "eventful": "maskvd_cli.methods.eventful:Eventful",
        "evit": "maskvd_cli.methods.evit:EViT",
        "maskvd": "maskvd_cli.methods.maskvd:MaskVD",
        "maskvd+evit": "maskvd_cli.methods.maskvd_evit:MaskVDEViT",
        "oracle": "maskvd_cli.methods.oracle:Oracle",
        "random": "maskvd_cli.methods.random_tokens:RandomTokens",
        "stgt": "maskvd_cli.methods.stgt:STGT",
    },
)
