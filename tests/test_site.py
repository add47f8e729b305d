"""The web site of the tutorials: what Sphinx is given to read, and, if it is installed, what it makes of it."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbformat", reason="needs the extra: pip install -e '.[tutorials]'")

import nbformat

from tutorials.build import sources
from tutorials.web import build as web


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    web.gather(folder)
    return folder


def markdown_of(page: Path) -> str:
    cells = nbformat.read(page, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_what_the_site_needs_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "sphinx.cmd.build", None)
    assert web.main() == 2
    assert "pip install -e '.[site]'" in capsys.readouterr().err


def test_every_tutorial_is_a_page_and_stands_in_the_contents(pages: Path):
    names = [source.stem for source in sources()]
    assert [page.stem for page in sorted(pages.glob("*.ipynb"))] == names
    contents = (pages / "index.md").read_text(encoding="utf-8").split("toctree")[1]
    assert re.findall(r"^\d\d_\w+$", contents, re.MULTILINE) == names


def test_no_link_leaves_the_site(pages: Path):
    for page in pages.glob("*.ipynb"):
        links = re.findall(r"\]\(([^)#]+)\)", markdown_of(page))
        assert links
        assert not [link for link in links if link.startswith("..")], page.name
        assert not [link for link in links if not (pages / link).is_file()], page.name


def test_linked_code_is_shown_as_it_is(pages: Path):
    repository = Path(web.__file__).parents[2]
    code = sorted((pages / "code").rglob("*.md"))
    assert code
    for page in code:
        linked = repository / page.relative_to(pages / "code")
        (source,) = (path for path in map(linked.with_suffix, (".py", ".txt", ".json")) if path.is_file())
        assert source.read_text(encoding="utf-8") in page.read_text(encoding="utf-8")


def test_pictures_keep_their_texts(pages: Path):
    for page in pages.glob("*.ipynb"):
        for cell in nbformat.read(page, as_version=4).cells:
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    assert cell.metadata["mystnb"]["image"]["alt"] == output.metadata["image/png"]["alt"]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("furo") is None, reason="needs the extra: pip install -e '.[site]'")
def test_the_site_is_built_without_a_warning_and_with_all_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(web, "SITE", tmp_path / "html")
    assert web.main() == 0
    for source in sources():
        page = (tmp_path / "html" / f"{source.stem}.html").read_text(encoding="utf-8")
        pictures = re.findall(r'<img alt="([^"]*)"[^>]*src="(_images/[^"]+)"', page)
        assert pictures
        for alt, picture in pictures:
            assert len(alt) > 20
            assert (tmp_path / "html" / picture).is_file()
        assert "https://cdn" not in page  # it must work without network
    assert (tmp_path / "html" / "searchindex.js").is_file()
