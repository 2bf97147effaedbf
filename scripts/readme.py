"""README.md from nbs/index.ipynb: `readme.py` writes it, `readme.py --check` says whether it is up to date (exit code 1 if not).

nbdev's own command needs Quarto. Here nbconvert writes the Markdown; cells marked `#| hide` are left out, as are the directives.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIRECTIVE = re.compile(r"^#\|.*\n?", re.M)
NOTICE = "<!-- Written by scripts/readme.py from nbs/index.ipynb: edit the notebook. -->\n\n"


def shown(cell: dict) -> bool:
    "Whether a cell belongs to the README."
    return cell["cell_type"] != "raw" and not re.search(r"^#\|\s*hide\s*$", cell["source"], re.M)


def readme(notebook: Path) -> str:
    "The README as text."
    import nbformat
    from nbconvert import MarkdownExporter

    nb = nbformat.read(notebook, 4)
    nb.cells = [cell for cell in nb.cells if shown(cell)]
    nb.metadata.language_info = {"name": "python"}  # nbdev_clean leaves it out
    for cell in nb.cells:
        if cell.cell_type == "code": cell.source = DIRECTIVE.sub("", cell.source)
    body, resources = MarkdownExporter().from_notebook_node(nb)
    if resources["outputs"]: raise SystemExit(f"{notebook}: holds pictures; a README has none of its own")
    return NOTICE + re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in body.strip().split("\n"))) + "\n"


def main(arguments: list[str], root: Path = ROOT) -> int:
    text, path = readme(root/"nbs"/"index.ipynb"), root/"README.md"
    if "--check" not in arguments:
        path.write_text(text, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != text:
        print("README.md is not what nbs/index.ipynb says; run scripts/readme.py")
        return 1
    return 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
