"""The catalogue: one JSON file a plate; a broken file harms no other plate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry, CatalogueError
from openhcs_dagster.catalogue.registration import register
from openhcs_engine.errors import PlateIdError
from openhcs_engine.plan.run_options import RunOptions
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress


def entry(plate_id: str = "P001", **changes: object) -> CatalogueEntry:
    made = CatalogueEntry(
        id=plate_id,
        folder="/nowhere/raw",
        microscope="imagexpress",
        pipeline="nowhere:pipeline",
        output="/nowhere/out",
        wells=("A01", "B02"),
        listing_digest="0" * 64,
        added="2026-01-01T00:00:00+00:00",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "plates")


def test_an_entry_comes_back_as_it_was_added(catalogue: Catalogue) -> None:
    """What is added can be read by id and is listed, options and search path included."""
    added = entry(search_path=("/labs/a",), options=RunOptions(backend="disk", workers=3))

    catalogue.add(added)

    assert catalogue.read("P001") == added
    assert list(catalogue.list()) == [added]


def test_a_removed_plate_is_no_longer_listed(catalogue: Catalogue) -> None:
    """Removing forgets the entry, and asking for it then names the plates that are known."""
    catalogue.add(entry("P001"))
    catalogue.add(entry("P002"))

    catalogue.remove("P001")

    assert [known.id for known in catalogue.list()] == ["P002"]
    with pytest.raises(CatalogueError, match=r"No plate 'P001' is registered \(known: P002\)"):
        catalogue.read("P001")


@pytest.mark.parametrize("second", ["P-1", "P.1", "p_1", "P_1"])
def test_ids_that_dagster_would_mix_up_are_refused(catalogue: Catalogue, second: str) -> None:
    """'-', '.' and case vanish in Dagster's op names and on some file systems: such twins are not both registered."""
    catalogue.add(entry("P_1"))

    with pytest.raises(CatalogueError, match=r"--id"):
        catalogue.add(entry(second))


@pytest.mark.parametrize("bad", ["a/b", "..", "a\nb", "", "-x", "a..b", "x" * 101])
def test_ids_that_cannot_be_names_are_refused(catalogue: Catalogue, bad: str) -> None:
    """An id with a path or control character never becomes a file."""
    with pytest.raises(PlateIdError, match="cannot be a plate id"):
        catalogue.add(entry(bad))

    assert not list(catalogue.list())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"wells": ()}, "without wells"),
        ({"wells": ("B02", "A01")}, "plate order"),
        ({"wells": ("A1",)}, "canonical"),
        ({"pipeline": "module"}, "module:attribute"),
        ({"options": RunOptions(backend="memory")}, "'memory' is not a backend"),
        ({"options": RunOptions(runner="slurm")}, "'slurm' is not a runner"),
        ({"options": RunOptions(workers=-1)}, "-1 is not a number of workers"),
        (
            {"output": "s3://bucket/results"},
            "s3://bucket/results is a URL, but Dagster keeps",
        ),
        ({"output": "s3:/bucket/results"}, "is a URL"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(
    catalogue: Catalogue, changes: dict[str, object], sentence: str
) -> None:
    """What no graph could be built from does not enter the catalogue."""
    with pytest.raises(CatalogueError, match=sentence):
        catalogue.add(entry(**changes))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"id": "bad"}', '{"id": 7}'], ids=["empty", "cut", "list", "short", "number"]
)
def test_a_broken_file_is_named_and_the_others_load(catalogue: Catalogue, content: str) -> None:
    """A half-written or hand-edited file is reported with its path; the other plates stay."""
    catalogue.add(entry("P001"))
    (catalogue.folder / "bad.json").write_text(content)

    contents = catalogue.list()

    assert [known.id for known in contents] == ["P001"]
    (broken,) = contents.broken
    assert "bad.json" in str(broken)


def test_a_copied_file_with_another_name_is_reported(catalogue: Catalogue) -> None:
    """An entry whose file has another name would be two plates; it is left out with the reason."""
    path = catalogue.add(entry("P001"))
    (catalogue.folder / "copy.json").write_bytes(path.read_bytes())

    contents = catalogue.list()

    assert len(contents.entries) == 1
    assert "name the file P001.json" in contents.broken[0].reason


def test_a_plate_behind_a_url_is_registered_by_its_url(tmp_path: Path) -> None:
    """The entry keeps the URL; a ``file://`` URL is the folder that it names."""
    import fsspec

    folder = write_imagexpress(tmp_path / "P9", SyntheticPlate(name="P9", rows=1, columns=2, z=1, shape=(32, 32)))
    files = fsspec.filesystem("memory")
    for path in folder.rglob("*"):
        if path.is_file():
            files.pipe_file(f"/registered/P9/{path.relative_to(folder).as_posix()}", path.read_bytes())
    catalogue = Catalogue(tmp_path / "plates")

    remote = register(catalogue, "memory://registered/P9", pipeline="a:b", output=tmp_path / "out")
    local = register(catalogue, f"file://{folder}", pipeline="a:b", output=tmp_path / "out", plate_id="local")

    assert (remote.id, remote.folder, remote.wells) == ("P9", "memory://registered/P9", ("A01", "A02"))
    assert (local.folder, local.wells) == (str(folder), remote.wells)


def test_an_output_behind_a_url_is_refused_before_the_plate_is_read(tmp_path: Path) -> None:
    """At once, in a sentence, however the URL is written; a ``file://`` URL is the folder that it names."""
    folder = write_imagexpress(tmp_path / "P9", SyntheticPlate(name="P9", rows=1, columns=2, z=1, shape=(32, 32)))
    catalogue = Catalogue(tmp_path / "plates")

    for output in ("s3://bucket/results", Path("gs://bucket/results"), "memory://results"):
        with pytest.raises(CatalogueError, match=r"is a URL.*choose one, and copy the finished plate, or use `openhcs"):
            register(catalogue, tmp_path / "nowhere", pipeline="a:b", output=output)
    local = register(catalogue, folder, pipeline="a:b", output=f"file://{tmp_path}/out")

    assert local.output == str(tmp_path / "out")
    assert [known.id for known in catalogue.list()] == ["P9"]


def test_a_file_written_by_hand_with_a_url_as_output_is_left_out(catalogue: Catalogue) -> None:
    """The sentence names the file; the other plates load."""
    catalogue.add(entry("P001"))
    other = catalogue.folder / "P002.json"
    text = (catalogue.folder / "P001.json").read_text()
    other.write_text(text.replace("P001", "P002").replace("/nowhere/out", "s3://bucket/out"))

    contents = catalogue.list()

    assert [known.id for known in contents] == ["P001"]
    assert "P002.json" in str(contents.broken[0]) and "s3://bucket/out is a URL" in str(contents.broken[0])


def test_a_plate_that_is_removed_while_the_catalogue_is_listed_is_no_broken_entry(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file vanishes between the listing and the reading: the plate is not there, and nothing is wrong."""
    catalogue.add(entry("P001"))
    catalogue.add(entry("P002"))
    read = Path.read_bytes

    def remove_first(path: Path) -> bytes:
        if path.name == "P001.json":
            path.unlink()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", remove_first)

    contents = catalogue.list()

    assert [known.id for known in contents] == ["P002"] and contents.broken == ()
