"""What is to be built: a dataset, one of its versions, one of its configs."""

from __future__ import annotations

from dataclasses import dataclass

from lensbench.registry import Config, Dataset, Version


@dataclass(frozen=True)
class Request:
    """What is to be built. `own_lists`: the source is a specimen of its own making, and so are its splits."""

    dataset: Dataset
    version: Version
    config: Config
    partial: bool = False
    own_lists: bool = False

    @property
    def title(self) -> str:
        """The build in messages."""
        return f"{self.dataset.name} {self.version.name} ({self.config.name})"

    @property
    def order(self) -> tuple[str, ...]:
        """Label names by index."""
        return self.dataset.label_order(self.config.labels)

    @property
    def listed_order(self) -> tuple[str, ...]:
        """Label names by index in the publisher's lists."""
        return self.dataset.label_order(self.config.lists)
