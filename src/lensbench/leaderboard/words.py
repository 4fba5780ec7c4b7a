"""What boards say in every form: the specimen's banner, what a mark means, which commands to type."""

from __future__ import annotations

from urllib.parse import quote

from lensbench.leaderboard.standing import Ranked, Standing
from lensbench.registry import registry_words

BANNER = "Specimen: synthetic images. These numbers say nothing about real samples."
SIMULATED = (
    "Simulated: raw frames made of 8-bit images that were processed already. These numbers compare processing and say "
    "nothing about raw data."
)
NEAR = (
    "the 95 % interval overlaps that of the first row, so the intervals do not separate the two. "
    "No paired test was made: a comparison on the same samples may separate them."
)
NO_INTERVAL = "no interval"
PINNED = (
    "The digest is over the dataset version, the split manifest, the label names in order, the input "
    "contract, the metric versions and the cluster. A row is ranked only if its record carries it."
)
ORDER = "ORDER is the order of its outputs: one that the dataset publishes, or a file"
HASH = (
    "A record carries the sha256 of its result, checked whenever it is read: it shows that nothing was "
    "changed by accident. It is no signature. To check a number, score the model again."
)


def banners(synthetic: bool, simulated: bool) -> list[str]:
    """What stands above all numbers of a benchmark."""
    return [text for text, told in ((BANNER, synthetic), (SIMULATED, simulated)) if told]


def banners_html(synthetic: bool, simulated: bool) -> str:
    """The same in a page."""
    return "".join(
        f'<p class="banner" role="note"><strong>{text}</strong></p>' for text in banners(synthetic, simulated)
    )


def pinned_text(board: Standing) -> str:
    """What the board's digest is over."""
    protocol = " Of this segmentation benchmark it is also over the protocol, every rule of it."
    return PINNED + (protocol if board.benchmark.protocol else "")


def board_url(slug: str, file: str = "index.html") -> str:
    """Where another board lies, as seen from one beside it."""
    return f"../{quote(slug)}/{file}"


def rank_text(row: Ranked) -> str:
    """``2``, or ``2=`` where several rows share it."""
    return f"{row.rank}=" if row.tied else str(row.rank)


def _config(board: Standing) -> str:
    return f" --config {board.benchmark.config}" if board.benchmark.synthetic else ""


def _registry() -> str:
    """A board is for others: where their copy of the registry lies, they know."""
    return " --registry DIR" if registry_words() else ""


def eval_command(board: Standing) -> str:
    """How a model is scored on this board's benchmark."""
    order = "" if board.benchmark.protocol else " --labels ORDER"
    name, tier = board.benchmark.made_of or (board.benchmark.name, "")
    isp = f" --isp {tier}" if tier else ""
    return f"bench eval --model my.onnx --benchmark {name}{_config(board)}{order}{isp}{_registry()}"


def commands(board: Standing) -> list[str]:
    """Lines of shell: how this board is built again, and how a model is scored."""
    stored = [
        "# the board of the stored records",
        f"bench leaderboard {board.benchmark.name}{_config(board)}{_registry()}",
    ]
    return [
        *([] if board.benchmark.made_of else stored),
        "# score a model yourself" + ("" if board.benchmark.protocol else f"; {ORDER}"),
        eval_command(board),
    ]
