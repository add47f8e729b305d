"""Make a web site of the tutorials: static pages with search, that need no network and no server.

    pip install -e '.[site]'
    python tutorials/web/build.py               # then open tutorials/web/html/index.html

The pages are made from the notebooks as they are, with the outputs they hold, and from `tutorials/README.md`. Links to
code and data lead to pages with them.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

WEB = Path(__file__).resolve().parent
SITE = WEB / "html"
TUTORIALS = WEB.parent
REPOSITORY = TUTORIALS.parent
TO_CODE = re.compile(r"\]\(([\w./]+\.(?:py|txt|json))\)")  # a link from a tutorial to a file of code or data

CODE_PAGE = """---
orphan: true
---

# `{path}`

````{{code-block}} {language}
:linenos:

{text}
````
"""
CONTENTS = """

```{{toctree}}
:hidden:

{pages}
```
"""


def gather(pages: Path) -> None:
    """Write what Sphinx reads: the notebooks, a first page, and a page for each file of code or data they link to."""
    notebooks = sorted(TUTORIALS.glob("[0-9][0-9]_*.ipynb"))
    linked: set[Path] = set()

    def to_page(link: re.Match[str]) -> str:
        code = (TUTORIALS / link[1]).resolve().relative_to(REPOSITORY)
        linked.add(code)
        return f"](code/{code.with_suffix('.md').as_posix()})"

    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = TO_CODE.sub(to_page, cell.source)
            else:
                keep_texts_of_pictures(cell)
        nbformat.write(notebook, pages / path.name)
    first = TO_CODE.sub(to_page, (TUTORIALS / "README.md").read_text(encoding="utf-8"))
    contents = CONTENTS.format(pages="\n".join(path.stem for path in notebooks))
    (pages / "index.md").write_text(first + contents, encoding="utf-8")
    for code in linked:
        page = pages / "code" / code.with_suffix(".md")
        page.parent.mkdir(parents=True, exist_ok=True)
        text = (REPOSITORY / code).read_text(encoding="utf-8")
        language = {".py": "python", ".json": "json"}.get(code.suffix, "text")
        page.write_text(CODE_PAGE.format(path=code.as_posix(), language=language, text=text), encoding="utf-8")


def keep_texts_of_pictures(cell: NotebookNode) -> None:
    """MyST-NB looks for a picture's text at the cell, and a notebook has it at the output."""
    for output in cell.outputs:
        if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
            cell.metadata["mystnb"] = {"image": {"alt": alt}}


def main() -> int:
    try:
        from sphinx.cmd.build import main as sphinx
    except ImportError:  # the rest of this file does without
        print("The site needs Sphinx and what belongs to it: pip install -e '.[site]'", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        pages, built = Path(folder) / "pages", Path(folder) / "html"
        pages.mkdir()
        gather(pages)
        # A warning, such as a link that leads nowhere, is an error, but not before all are told.
        options = ["-b", "html", "-q", "-W", "--keep-going", "-c", str(WEB), "-d", f"{folder}/parsed"]
        if status := sphinx([*options, str(pages), str(built)]):
            return status
        shutil.rmtree(SITE, ignore_errors=True)
        shutil.copytree(built, SITE)
    print(f"open {SITE / 'index.html'}")
    return 0


if __name__ == "__main__":
    argparse.ArgumentParser(description="Make a web site of the tutorials.").parse_args()
    sys.exit(main())
