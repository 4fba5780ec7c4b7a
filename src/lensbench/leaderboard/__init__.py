"""Boards: a pure function of one benchmark and its records' `result` parts; Markdown, CSV and one HTML page.

`read_board` reads the stored records (and runs that are named) into a `Leaderboard`; `Leaderboard.write`
writes its three files, `Leaderboard.to_pandas` gives the table.
"""

from lensbench.leaderboard.board import Leaderboard, read_board
from lensbench.leaderboard.entry import Entry
from lensbench.leaderboard.scores import Score
from lensbench.leaderboard.standing import Apart, Ranked, Refused, Standing

__all__ = ["Apart", "Entry", "Leaderboard", "Ranked", "Refused", "Score", "Standing", "read_board"]
