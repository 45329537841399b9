"""What each step gave, on disk as soon as it is known."""

import json
import os

FILE = "results.json"


class Unusable(Exception):
    """Something that was given and cannot be used; one line."""


def write(path, text):
    """Replaces a file at once, so that no reader and no power cut sees half of it."""
    beside = path.with_name(path.name + ".part")
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


class Results:
    """The steps so far, by name; `table` makes the page of all of them."""

    def __init__(self, folder, head, table):
        self.folder, self.table = folder, table
        self.head, self.steps = head, {}
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        if path.exists():
            try:
                before = json.loads(path.read_text(encoding="utf-8"))
                self.steps = {step["name"]: step for step in before["steps"]}
                commit = before["head"]["commit"]
            except (ValueError, KeyError, TypeError) as error:
                raise Unusable(f"{path}: not the results of an earlier call: {error!r}") from None
            if commit != head["commit"]:
                raise Unusable(f"{folder} has results of commit {commit}; use another folder")
        elif any(folder.iterdir()):
            raise Unusable(f"{folder} is not empty and has no {FILE}")

    def finished(self, name):
        return self.steps.get(name, {}).get("ended") == "finished"

    def add(self, step):
        """`step` is a dictionary with at least its name and how it ended."""
        # A later call must not hide what an earlier one knows behind "no time was left".
        if step["ended"] == "left out" and step["name"] in self.steps:
            return
        self.steps[step["name"]] = step
        self.save()

    def save(self):
        everything = {"head": self.head, "steps": list(self.steps.values())}
        write(self.folder / FILE, json.dumps(everything, indent=1) + "\n")
        write(self.folder / "table.md", self.table(everything))
