"""`bench isp`: raw frames and the views they are developed in; one small file per command."""

from __future__ import annotations

import importlib

import click

COMMANDS = {
    "views": "List the tiers of views, or the views of one tier.",
    "render": "Develop a raw frame in one view, or all views of a tier on a contact sheet.",
}


class IspCommands(click.Group):
    """The commands by name; a module is imported only when its command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command `cmd_name`, from `lensbench.cli.isp_<name>`."""
        if cmd_name not in COMMANDS:
            return None
        found = importlib.import_module(f"lensbench.cli.isp_{cmd_name}").command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line each, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group("isp", cls=IspCommands)
def command() -> None:
    """Develop raw frames: image signal processing in many views.

    \b
    bench isp views --tier paper-12
    bench isp render frame.dng --view me-u-ga -o out.png
    """
