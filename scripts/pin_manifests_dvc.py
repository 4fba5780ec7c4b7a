"""Write the `.dvc` file beside every split manifest of the registry: `python scripts/pin_manifests_dvc.py`.

Run it after dataset.toml pins a manifest anew. The manifest stays in git (`cache: false`): a clone without any
remote has every split, and `dvc status` names one that changed. A manifest that is not the pinned one is refused.
"""

from __future__ import annotations

from pathlib import Path

from lensbench.paths import write_text
from lensbench.registry import dataset_names, get_dataset
from lensbench.splits import read_manifest
from lensbench.verify.pinned import dvc_file


def pins(root: Path | None = None) -> dict[Path, str]:
    """Every manifest that a dataset.toml pins, and its `.dvc` file; raises DatasetError for one that is another."""
    texts = {}
    for dataset in (get_dataset(name, root) for name in dataset_names(root)):
        for config in dataset.configs.values():
            for split in config.splits.values():
                if split.manifest is not None:
                    read_manifest(dataset, config.name, split.name)
                    texts[split.manifest] = dvc_file(split.manifest)
    return texts


def main() -> None:
    """Write them all."""
    for manifest, text in pins().items():
        write_text(manifest.with_name(f"{manifest.name}.dvc"), text)
        print(f"{manifest.name}.dvc")


if __name__ == "__main__":
    main()
