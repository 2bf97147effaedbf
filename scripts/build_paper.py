"""paper/paper.pdf from paper/paper.typ and paper/generated: `build_paper.py [OUTPUT]`.

Fails on every warning of the compiler (a missing font, an unknown reference), and finds only the fonts that are built into Typst, so that the same sources give the same bytes on every machine.
"""
import sys
from pathlib import Path

import typst

PAPER = Path(__file__).resolve().parent.parent/"paper"


def main(output: Path) -> int:
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True)
    try: pdf, warnings = typst.compile_with_warnings(PAPER/"paper.typ", root=PAPER, font_paths=fonts, format="pdf")
    except typst.TypstError as error:
        print(f"paper/paper.typ: {error.message}", *error.hints, sep="\n", file=sys.stderr)
        return 1
    for warning in warnings: print(f"paper/paper.typ: warning: {warning.message}", *warning.hints, sep="\n", file=sys.stderr)
    if warnings: return 1
    output.write_bytes(pdf)
    print(f"{output}: {len(pdf)/1e3:.0f} kB")
    return 0


if __name__ == "__main__": sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAPER/"paper.pdf"))
