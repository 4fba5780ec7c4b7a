"""Does a dataset folder hold what it says? One suite for every folder, ours or a stranger's, in the same words.

`check_dataset` goes through the folder, `check_source` through the data itself; both go on after a failure.
`verify` is the part that a pipeline stops at.
"""

from lensbench.verify.dataset import check_dataset
from lensbench.verify.facts import FAILED, OK, UNKNOWN, Checked, summary
from lensbench.verify.pinned import verify
from lensbench.verify.source import check_source

__all__ = ["FAILED", "OK", "UNKNOWN", "Checked", "check_dataset", "check_source", "summary", "verify"]
