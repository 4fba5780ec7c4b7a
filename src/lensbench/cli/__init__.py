"""`bench`: one small file per command, imported when it is called; `bench --help` imports click and this table."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback

import click

from lensbench import __version__
from lensbench.errors import LensbenchError, printable

COMMANDS = {
    "eval": "Score a model, or predictions made elsewhere, on a benchmark.",
    "leaderboard": "Build a benchmark's board (Markdown, CSV, one HTML page) from records and runs.",
    "refresh": "Evaluate the submissions that are not scored yet and rebuild the boards.",
    "demo": "Evaluate the baselines on the specimen and build its board.",
    "list": "List the datasets: versions, examples, tracks, licence, size, on disk or not.",
    "show": "Show a dataset: splits, classes, groups, known leaks, how to get and cite it.",
    "fetch": "Fetch, verify and prepare a dataset before this machine goes offline.",
    "specimen": "Write a synthetic copy of a dataset, of any size, in its publisher's layout.",
    "verify": "Check a dataset folder with the suite that every dataset passes; --deep goes through its data.",
    "isp": "Develop raw frames: list the views, render one or a contact sheet.",
    "publish": "Write a dataset version as Parquet shards with a card, or push it to the Hub.",
}


USERS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EPERM, errno.ENAMETOOLONG),
)
"""What the system refuses because of a path or a disk that the user named."""


class Commands(click.Group):
    """The commands by name; a module is imported only when its command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command `cmd_name`, from `lensbench.cli.<name>`."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"lensbench.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name for one that does not exist."""
        if args and args[0] not in COMMANDS:
            from lensbench.errors import nearest

            ctx.fail(f"no command {args[0]!r}{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line each, from the table: no command module is imported for the help text."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="bench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def bench(debug: bool) -> None:
    """Score models on data-versioned scientific imaging benchmarks.

    \b
    bench demo                                   see it work, on synthetic data
    bench eval --model my.onnx --benchmark NAME  score your own model
    """


def main() -> None:
    """Entry point: a LensbenchError is one line and exit code 2; anything else is a bug and keeps its traceback."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # gives memory back; the default keeps 50 MB more
    debug = "--debug" in sys.argv
    sys.argv[1:] = ["--debug"] * debug + [arg for arg in sys.argv[1:] if arg != "--debug"]
    try:
        bench(prog_name="bench", standalone_mode=False)
    except click.exceptions.Abort:
        print("stopped; what was finished is kept, and the same command goes on from there", file=sys.stderr)
        sys.exit(130)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except SystemExit as error:
        if error.code or "_BENCH_COMPLETE" in os.environ:  # ours, or click's when a shell asks it to complete
            raise
        print(
            "error: code that does not come with lensbench ended the program before its work was done", file=sys.stderr
        )
        sys.exit(2)
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            raise
        print(
            f"error: {error.object[max(0, error.start - 40) : error.end + 20]!a} holds bytes that are no text in this "
            "locale: set PYTHONUTF8=1, or use a name in plain ASCII",
            file=sys.stderr,
        )
        sys.exit(2)
    except (LensbenchError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in USERS:
            raise
        if debug:
            traceback.print_exc()
        text = f"{error.filename or 'the disk'}: {error.strerror}" if isinstance(error, OSError) else str(error)
        print(f"error: {printable(text)}", file=sys.stderr)
        sys.exit(2)
