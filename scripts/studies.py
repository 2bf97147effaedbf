"""How large the studies are: `studies.py SCALE` writes it to `studies.scale` in params.yaml, and nothing else is touched.

A scale is a list of seeds in `studies.seeds`. Exits with 2 if there is no such list.
"""
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent


def scaled(text: str, scale: str) -> str:
    "The parameter file with another scale; comments and everything else stay, to the byte. Raises `ValueError`."
    studies = YAML(typ="rt").load(text)["studies"]
    if scale not in studies["seeds"]: raise ValueError(f"STUDIES is {scale!r}; studies.seeds has {', '.join(studies['seeds'])}")
    line, column = studies.lc.value("scale")
    lines, old = text.splitlines(keepends=True), str(studies["scale"])
    if not lines[line].startswith(old, column): raise ValueError(f"studies.scale is {old!r}; it is written without quotes")
    lines[line] = lines[line][:column] + scale + lines[line][column + len(old):]
    return "".join(lines)


def main(arguments: list[str], root: Path = ROOT) -> int:
    path = root/"params.yaml"
    try:
        if len(arguments) != 1: raise ValueError(f"one scale is given, not {len(arguments)}")
        text = path.read_bytes().decode()
        new = scaled(text, arguments[0])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if new != text: path.write_bytes(new.encode())
    return 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
