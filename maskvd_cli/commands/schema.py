"""`maskvd schema`: the JSON schema of recipes, for editors."""

from __future__ import annotations

import json


def schema() -> None:
    """Print the JSON schema of recipes, for completion in editors.

    Example: maskvd schema > recipe.schema.json
    """
    from maskvd_cli.recipe.schema_json import json_schema
    from maskvd_cli.work.catalog import catalog

    print(json.dumps(json_schema(catalog()), indent=2))
