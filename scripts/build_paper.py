"""paper/paper.pdf from paper/paper.typ and what the pipeline wrote: `build_paper.py [OUTPUT [GENERATED]]`.

GENERATED is paper/generated unless another folder is named (a smoke run's). Fails on every warning of the compiler (a missing font, an unknown reference), and sees only
the fonts that are built into Typst, so that the same sources give the same bytes on every machine.
"""
import shutil
import sys
import tempfile
from pathlib import Path

import typst

PAPER = Path(__file__).resolve().parent.parent/"paper"


def build(output: Path, folder: Path) -> int:
    "Compile `folder`/paper.typ; 0 if there was nothing to complain about."
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True)
    try: pdf, warnings = typst.compile_with_warnings(folder/"paper.typ", root=folder, font_paths=fonts, format="pdf")
    except typst.TypstError as error:
        print(f"paper/paper.typ: {error.message}", *error.hints, sep="\n", file=sys.stderr)
        return 1
    for warning in warnings: print(f"paper/paper.typ: warning: {warning.message}", *warning.hints, sep="\n", file=sys.stderr)
    if warnings: return 1
    output.write_bytes(pdf)
    print(f"{output}: {len(pdf)/1e3:.0f} kB")
    return 0


def main(arguments: list[str]) -> int:
    output = Path(arguments[0]) if arguments else PAPER/"paper.pdf"
    if len(arguments) < 2: return build(output, PAPER)
    with tempfile.TemporaryDirectory(prefix="liquidity_game_paper_") as name:
        folder = Path(name)
        for source in ("paper.typ", "references.bib"): shutil.copy(PAPER/source, folder/source)
        shutil.copytree(arguments[1], folder/"generated")
        return build(output, folder)


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
