"""Circles of imports between the modules of each crate.

    python3 interop/structure/circles.py [FOLDER OF CRATES] [--arrows]

A module is a source file. It imports another one of its crate where it names that one, or an item
that is defined there: from the root (`crate::study::results::Estimate`), from the folder above
(`super::results`), or from below (`results::Estimate` in the file that declares `mod results`).
Whoever names an item where it is re-exported imports the module that defines it; the re-export
itself is an address and no import, unless the file that has it also uses the item. Tests, comments
and declarations of modules do not count.

A circle is a set of modules each of which reaches every other one over imports: a strongly
connected component of more than one module. Printed are a line a crate and each of its circles;
with `--arrows` also the paths that close a circle.
"""

import argparse
import re
from pathlib import Path

Module = tuple[str, ...]

# Comments, and literals whose contents could pass for code or for a comment.
ASIDE = re.compile(
    r"//[^\n]*|/\*.*?\*/|r(#*)\".*?\"\1|b?\"(?:\\.|[^\"\\])*\"|b?'(?:\\.|[^'\\])'", re.DOTALL
)
DECLARATION = re.compile(r"\bmod\s+(\w+)\s*;")
USE = re.compile(r"\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);")
PATH = re.compile(r"(?<![\w:])[A-Za-z_]\w*(?:::[A-Za-z_]\w*)+")


def code_of(text: str) -> str:
    """The text without comments, literals of text, and tests."""
    text = ASIDE.sub("", text)
    while tests := re.search(r"#\[cfg\((?:all\()?test\b[^\n]*\n\s*(?:#\[[^\n]*\n\s*)*", text):
        end = item_end(text, tests.end())
        text = text[: tests.start()] + text[end:]
    return text


def item_end(text: str, start: int) -> int:
    """Behind the item that begins at `start`: its `;`, or the brace that closes it."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0 and text[at] in ";}":
            return at + 1
    return len(text)


def flattened(tree: str) -> list[tuple[list[str], str]]:
    """The paths of a `use` and the names they get: `a::{b, c::{d as e}}` gives a::b and a::c::d."""
    tree = tree.strip()
    if "{" not in tree:
        path, _, name = re.sub(r"\s+as\s+", "=", tree).partition("=")
        names = [part.strip() for part in path.split("::")]
        if len(names) > 1 and names[-1] == "self":
            names.pop()
        return [(names, name or names[-1])]
    head, rest = tree.split("{", 1)
    parts, depth, part = [], 0, ""
    for letter in rest[: rest.rindex("}")]:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += letter
    prefix = [name.strip() for name in head.split("::") if name.strip()]
    found = []
    for part in [*parts, part]:
        for path, name in flattened(part) if part.strip() else []:
            # `a::{self}` names a itself.
            found.append((prefix, prefix[-1]) if path == ["self"] else (prefix + path, name))
    return found


def modules_of(source: Path) -> dict[Module, Path]:
    """The source files of a crate by their paths of modules; the root is ()."""
    modules = {}
    for file in sorted(source.rglob("*.rs")):
        names = file.relative_to(source).with_suffix("").parts
        if names[0] == "bin" or names == ("main",):
            continue
        modules[() if names == ("lib",) else names[:-1] if names[-1] == "mod" else names] = file
    return modules


class Source:
    """What a module's text names."""

    def __init__(self, module: Module, text: str):
        code = code_of(text)
        self.module = module
        self.children = set(DECLARATION.findall(code))
        # Paths that it uses, and for each re-exported name the path to it.
        self.paths: list[list[str]] = []
        self.exports: dict[str, list[str]] = {}
        rest = USE.sub("", code)
        words = set(re.findall(r"\w+", rest))
        for public, tree in USE.findall(code):
            for path, name in flattened(tree):
                if public and name != "*":
                    self.exports[name] = path
                if not public or name == "*" or name in words:
                    self.paths.append(path)
        # What hangs below an imported name was counted with the import.
        imported = {path[-1] for path in self.paths}
        inline = [path.split("::") for path in PATH.findall(rest)]
        self.paths += [
            path
            for path in inline
            if path[0] in ("crate", "super", "self")
            or path[0] in self.children and path[0] not in imported
        ]

    def absolute(self, path: list[str]) -> list[str] | None:
        """The path from the crate's root; None if it leads out of the crate."""
        if path[0] == "crate":
            return path[1:]
        base, rest = list(self.module), path
        while rest and rest[0] in ("super", "self"):
            if rest[0] == "super":
                base = base[:-1]
            rest = rest[1:]
        if rest is not path or path[0] in self.children:
            return base + rest
        return None


def definition(path: list[str], sources: dict[Module, Source], steps: int = 8) -> Module:
    """The module that defines what `path` leads to, through re-exports."""
    module = ()
    for at, name in enumerate(path):
        if (*module, name) in sources:
            module = (*module, name)
            continue
        source = sources[module]
        exported = source.exports.get(name)
        further = source.absolute(exported) if exported else None
        if further is None or steps == 0:
            break
        return definition(further + path[at + 1 :], sources, steps - 1)
    return module


def imports_of(source: Source, sources: dict[Module, Source]) -> dict[Module, str]:
    """The modules that `source` imports, each with the path by which it does so first."""
    found = {}
    for path in source.paths:
        absolute = source.absolute(path)
        if absolute is None:
            continue
        target = definition(absolute, sources)
        if target != source.module:
            found.setdefault(target, "::".join(path))
    return found


def circles_of(graph: dict[Module, dict[Module, str]]) -> list[list[Module]]:
    """The strongly connected components of more than one module (Tarjan's algorithm)."""
    order, low, stack, circles = {}, {}, [], []

    def visit(module):
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == order[module]:
            at = stack.index(module)
            component = sorted(stack[at:])
            del stack[at:]
            if len(component) > 1:
                circles.append(component)

    for module in graph:
        if module not in order:
            visit(module)
    return sorted(circles, key=len, reverse=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("crates", nargs="?", type=Path, default=Path("crates"))
    arguments.add_argument("--arrows", action="store_true", help="also say what closes a circle")
    given = arguments.parse_args()
    for source in sorted(given.crates.glob("*/src")):
        modules = modules_of(source)
        sources = {m: Source(m, file.read_text()) for m, file in modules.items()}
        graph = {m: imports_of(source, sources) for m, source in sources.items()}
        circles = circles_of(graph)
        sizes = ", ".join(str(len(circle)) for circle in circles)
        said = f"{len(circles)} circles" + (f" of {sizes} modules" if circles else "")
        print(f"{source.parent.name}: {len(modules)} modules, {said}")
        for circle in circles:
            print("   ", ", ".join("::".join(module) or "lib" for module in circle))
            if given.arrows:
                for module in circle:
                    for other, path in sorted(graph[module].items()):
                        if other in circle:
                            print(f"        {'::'.join(module) or 'lib'} → {path}")


if __name__ == "__main__":
    main()
