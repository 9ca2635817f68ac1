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
        "maskvd": "maskvd_cli.methods.maskvd:MaskVD",
    },
)
