"""`bench verify`: is what the registry pins what is here?"""

from __future__ import annotations

import click

from lensbench.cli.options import registry_option


@click.command("verify")
@click.argument("dataset")
@registry_option
def command(dataset: str) -> None:
    """Check a dataset's pinned manifests and specimen archive against their digests.

    What is not pinned yet is printed as unknown: it is never counted as passed.
    """
    from lensbench.registry import get_dataset
    from lensbench.verify import verify

    for line in verify(get_dataset(dataset)):
        click.echo(f"{line.state:<8} {line.what}: {line.text}")
