"""The packed build: a folder, or the archive of it."""

import hashlib
import json
import pathlib
import tarfile

from .results import Unusable

MANIFEST = "manifest.json"


class Package:
    """What pack.sh put together, every file as it was packed."""

    def __init__(self, folder):
        self.folder = folder
        try:
            self.manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            self.commit = self.manifest["commit"]
            self.suites = {name: folder / path for name, path in self.manifest["suites"].items()}
            self.program = folder / self.manifest["program"]
            files = self.manifest["files"]
        except OSError as error:
            raise Unusable(f"{folder}: not what pack.sh makes: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unusable(f"{folder / MANIFEST}: not a manifest of pack.sh: {error!r}") from None
        for name, expected in files.items():
            path = folder / name
            if not path.is_file():
                raise Unusable(f"{path} is missing")
            if sha256(path) != expected:
                raise Unusable(f"{path} is not what was packed: its SHA-256 differs")

    def part(self, name):
        """The path of an optional part, or None."""
        path = self.manifest.get(name)
        return self.folder / path if path else None


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def opened(path, scratch):
    """The package at `path`; an archive is unpacked below `scratch`."""
    if path.is_dir():
        return Package(path.resolve())
    target = pathlib.Path(scratch) / "package"
    try:
        with tarfile.open(path) as archive:
            # A pack has plain files and folders; no entry may lead out of the folder.
            archive.extractall(target, filter="data")
    except (OSError, tarfile.TarError, EOFError) as error:
        why = str(error).splitlines()[0].rstrip(":")
        raise Unusable(f"{path}: cannot be unpacked: {why}") from None
    inside = [found.parent for found in target.glob(f"*/{MANIFEST}")]
    if len(inside) != 1:
        raise Unusable(f"{path}: not what pack.sh makes: no {MANIFEST}")
    return Package(inside[0].resolve())
