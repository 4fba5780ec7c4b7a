"""Find, read and validate dataset folders: `registry/<name>/dataset.toml` and `classes.csv`, as frozen values.

Nothing here opens an image or an archive, and nothing heavier than the standard library is imported.
"""

from lensbench.registry.find import dataset_names, get_dataset, registry_root, registry_words
from lensbench.registry.values import (
    SPECIMEN,
    SPLITS,
    Absent,
    Config,
    Content,
    Dataset,
    Label,
    Leak,
    Rule,
    Split,
    Version,
)

__all__ = [
    "SPECIMEN",
    "SPLITS",
    "Absent",
    "Config",
    "Content",
    "Dataset",
    "Label",
    "Leak",
    "Rule",
    "Split",
    "Version",
    "dataset_names",
    "get_dataset",
    "registry_root",
    "registry_words",
]
