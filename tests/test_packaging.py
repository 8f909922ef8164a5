"""What is shipped, and what comes with it.  ``python -m tests.packaging`` tries it out as well."""

from __future__ import annotations

import json
import tarfile
import tomllib
import zipfile
from importlib.util import find_spec

import pytest

from tests.packaging import archives, sbom
from tests.packaging.archives import Archives, PackagingError
from tests.packaging.components import ROOT, closure, ours

FACTS = "minimix-1.dist-info/METADATA"


@pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling is not installed")
def test_all_of_the_packages_is_shipped_and_the_sdist_builds_the_same_wheel(tmp_path):
    made = archives.build(ROOT, tmp_path / "dist")
    archives.check(made)
    again = archives.rebuilt(made.sdist, tmp_path / "sdist")
    archives.check_equal(made.wheel, again.wheel)


@pytest.fixture
def tree(tmp_path):
    """A source tree of two packages, and its archives."""
    source = tmp_path / "source"
    top = {*archives.AT_THE_TOP, "tests/packaging/archives.py", "tutorials/build.py"}
    for name in (*top, "minimix/a.py", "minimix/data/b.h5", "weights_tools/c.py"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    sdist = tmp_path / "minimix-1.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        archive.add(source, "minimix-1")
    files = {"minimix/a.py", "minimix/data/b.h5", "weights_tools/c.py", FACTS}
    wheel = wheel_of(tmp_path / "minimix.whl", {name: name for name in files})
    return source, Archives(sdist, wheel)


def wheel_of(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), text)
    return path


def texts_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_archives_that_hold_everything_pass(tree):
    source, whole = tree
    archives.check(whole, source)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("minimix/data/b.h5", None),
        ("minimix/a.py", "other"),
        ("tests/x.py", "left over"),
        ("minimix/data/more.txt", "left over"),
    ],
)
def test_a_wheel_with_a_file_less_more_or_other_is_noticed(tree, tmp_path, name, text):
    source, whole = tree
    files = {key: old for key, old in texts_of(whole.wheel).items() if key != name}
    if text is not None:
        files[name] = text
    other = wheel_of(tmp_path / "other.whl", files)
    with pytest.raises(PackagingError, match=name):
        archives.check(Archives(whole.sdist, other), source)
    with pytest.raises(PackagingError, match=name):
        archives.check_equal(whole.wheel, other)


def test_two_wheels_that_are_only_packed_in_another_way_are_not_equal(tree, tmp_path):
    _, whole = tree
    other = tmp_path / "other.whl"
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts_of(whole.wheel).items():
            archive.writestr(name, text)
    with pytest.raises(PackagingError, match="packed in another way"):
        archives.check_equal(whole.wheel, other)


@pytest.mark.parametrize("name", ["SECURITY.md", "weights_tools/c.py"])
def test_an_sdist_without_a_file_is_noticed(tree, tmp_path, name):
    source, whole = tree
    sdist = tmp_path / "less.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        archive.add(
            source,
            "minimix-1",
            filter=lambda member: None if member.name.endswith(f"/{name}") else member,
        )
    with pytest.raises(PackagingError, match=name):
        archives.check(Archives(sdist, whole.wheel), source)


def test_a_source_that_cannot_be_built_says_why(tmp_path):
    if find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'nothing'\n")
    with pytest.raises(PackagingError, match="version"):
        archives.build(tmp_path, tmp_path / "dist")


needs_numba = pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")


@pytest.fixture(scope="module")
def components():
    return closure(ours().requires)


@needs_numba
def test_the_bill_of_materials_names_every_component_once_and_every_link_leads_to_one(components):
    bill = sbom.bill(ours(), components)
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    entries = [bill["metadata"]["component"], *bill["components"]]
    references = [entry["bom-ref"] for entry in entries]
    assert len(set(references)) == len(references)
    links = {link["ref"]: link["dependsOn"] for link in bill["dependencies"]}
    assert links.keys() == set(references)
    assert {reference for needed in links.values() for reference in needed} == set(references[1:])
    assert all(entry["licenses"] and entry["version"] for entry in entries)
    json.dumps(bill)


@needs_numba
def test_the_bill_begins_with_what_pyproject_asks_for(components):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bill = sbom.bill(ours(), components)
    assert bill["metadata"]["component"]["purl"] == f"pkg:pypi/minimix@{project['version']}"
    assert len(bill["dependencies"][0]["dependsOn"]) == len(project["dependencies"])


@needs_numba
def test_no_component_is_without_a_licence(components):
    assert [one.name for one in components.values() if one.license in ("", "not stated")] == []


def test_a_component_that_is_not_installed_is_named():
    with pytest.raises(SystemExit, match="no-such-thing: is not installed"):
        closure(["no-such-thing"])
