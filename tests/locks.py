"""Versions as the locks have them, so that a new lock asks for no new test.

locked("web", "@tensorflow/tfjs-core")     # "4.22.0"
"""

import json
import re

from workers import registry


def locked(toolchain: str, package: str) -> str:
    """Return the version of a Python or JavaScript package in a toolchain's lock."""
    folder = registry.find()[toolchain].folder
    if (folder / "package-lock.json").exists():
        packages = json.loads((folder / "package-lock.json").read_text())["packages"]
        if f"node_modules/{package}" in packages:
            return str(packages[f"node_modules/{package}"]["version"])
    found = re.search(rf"^{re.escape(package)}==(\S+)", (folder / "requirements.txt").read_text(), re.M)
    assert found, f"{package} is not in the lock of {toolchain}"
    return found[1]
