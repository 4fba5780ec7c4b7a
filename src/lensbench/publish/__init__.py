"""A dataset version as the Hub wants it: a folder of Parquet shards with a card, and its way to the Hub."""

from lensbench.publish.build import Published, publish
from lensbench.publish.folder import NOTES, read_notes
from lensbench.publish.shards import write_split

__all__ = ["NOTES", "Published", "publish", "read_notes", "write_split"]
