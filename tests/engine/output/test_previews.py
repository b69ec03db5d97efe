"""How wells look: small planes that are written with the images, on every output, and read instead of them."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from openhcs_engine.errors import OutputPlaceError, PlaneReadError, UnsafePathError
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.folder import output as folder_output
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.layout import image_sets_of, is_preview, published_path, well_of_path
from openhcs_engine.output.manifest import WellManifest, manifest_from_json, manifest_to_json
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.pictures.mosaic import Mosaic
from openhcs_engine.output.pictures.overview import write_overview
from openhcs_engine.output.pictures.previews import PREVIEW_PX, SITE_PX, Preview
from openhcs_engine.output.reading import previews as reading
from openhcs_engine.output.reading.previews import preview_of, preview_of_images
from openhcs_engine.output.reading.published_wells import PlateWells
from openhcs_engine.output.verification.repair import repair
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.output.writing.well_writer import write_well
from tests.engine.outputs import list_wells
from tests.engine.plate_outputs import change, contents, context_at, prepared

Images = dict[ImageKey, NDArray[Any]]


def noise(shape: tuple[int, int] = (480, 400), dtype: str = "uint16", seed: int = 0) -> NDArray[Any]:
    """Pixels that no codec makes small."""
    values = np.random.default_rng(seed).integers(0, 250 if dtype == "uint8" else 60_000, shape)
    return (values > 30_000) if dtype == "bool" else values.astype(dtype)


def images_of(well: str, sites: int = 2, **kind: Any) -> Images:
    """Two channels of some sites."""
    keys = [ImageKey(well, site, channel, None, 1) for site in range(1, sites + 1) for channel in (1, 2)]
    return {key: noise(seed=seed, **kind) for seed, key in enumerate(keys)}


def publish(output: PlateOutput, well: str, images: Images, *, earlier: bool = False, **options: Any) -> WellManifest:
    """Publish a well; ``earlier``: as a version did that wrote no previews."""
    context = context_at(output.address.rpartition("/")[0], well, output.backend)
    with output.staging("run") as staging:
        planes = iter(images.items()) if earlier else images.items()
        staged = write_well(staging, context, planes, options=ImageOptions(**options))
        output.publish(staged, WellManifest.of(context, staged, seconds=1.5, device="cpu:0"))
    list_wells(output, options.get("ngff", "0.5"))
    manifest = output.published(well)
    assert manifest is not None
    return manifest


def previews_in(manifest: WellManifest) -> list[str]:
    return [file.path for file in manifest.files if is_preview(file.path)]


def stored_preview(output: PlateOutput, manifest: WellManifest) -> Preview:
    (path,) = previews_in(manifest)
    return Preview.decode(output.files.read(path), path)


@pytest.fixture(params=["folder", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for outputs of each kind."""
    if request.param == "folder":
        return str(tmp_path)
    start = "memory://outputs" if request.param == "memory" else request.getfixturevalue("bucket")
    return f"{start}/{uuid.uuid4().hex}"


@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_every_output_lists_a_preview_with_each_well(root: str, backend: str) -> None:
    """Of every channel and site, as a file of the well: verified, replaced, dropped and repaired with its images."""
    output = prepared(root, backend)
    first = publish(output, "A01", images_of("A01"))
    manifest = publish(output, "A01", {key: plane // 2 for key, plane in images_of("A01").items()})

    preview = stored_preview(output, manifest)
    assert preview.channels == ("DAPI", "GFP") and preview.sites == (1, 2) and preview.dtype == np.uint16
    assert len(preview.planes) == 4 and {max(plane.pixels.shape) for plane in preview.planes} == {SITE_PX}
    (file,) = (file for file in manifest.files if is_preview(file.path))
    assert file.size <= 0.02 * (manifest.nbytes - file.size)
    assert [path for path in contents(output) if path.startswith("previews/")] == [file.path]
    assert stored_preview(output, manifest) is not None and first != manifest
    report = verify(output.address)
    assert (report.whole, report.damaged, report.foreign) == (("A01",), (), ())

    change(output, file.path, b"x" * file.size)
    (damage,) = verify(output.address).damaged
    assert file.path in damage.reasons[0] and "checksum" in damage.reasons[0]
    assert repair(output.address, verify(output.address)).dropped == ("A01",)
    assert not [path for path in contents(output) if path.startswith("previews/")]


def test_a_preview_that_is_missing_makes_its_well_one_to_run_again(root: str) -> None:
    """As any of its files."""
    output = prepared(root)
    manifest = publish(output, "A01", images_of("A01"))
    change(output, previews_in(manifest)[0], None)
    assert output.published("A01") is None and output.unchanged({"A01": manifest.fingerprint}) == {}


def test_a_file_that_numpy_opens(tmp_path: Path) -> None:
    """Stacks of planes in the images' pixel type, and JSON that says what each is of."""
    output = prepared(str(tmp_path))
    manifest = publish(output, "A01", images_of("A01"))
    with np.load(tmp_path / "P1" / previews_in(manifest)[0]) as file:
        assert sorted(file.files) == ["about", "planes_0"]
        assert file["planes_0"].shape == (4, 48, 40) and file["planes_0"].dtype == np.uint16
        about = json.loads(file["about"].tobytes())
    assert about == {
        "channels": ["DAPI", "GFP"],
        "planes": [[[0, 1, "uint16"], [1, 1, "uint16"], [0, 2, "uint16"], [1, 2, "uint16"]]],
    }


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "uint16", "int32", "uint64", "float16", "float32", "float64"]
)
def test_planes_are_raw(tmp_path: Path, dtype: str) -> None:
    """Means in the pixel type of the images, of the values that booleans and 64 bits allow; the type is said."""
    output = prepared(str(tmp_path))
    planes = {
        ImageKey("A01", 1, 1, None, 1): np.ones((200, 200), dtype),
        ImageKey("A01", 1, 2, None, 1): noise((200, 200), dtype),
    }
    manifest = publish(output, "A01", planes, earlier=True, levels=1)
    preview = preview_of(tmp_path / "P1", manifest)
    assert preview.dtype == np.dtype(dtype)
    means = {"bool": "float32", "uint64": "float64"}
    even, noisy = (plane.pixels for plane in preview.planes)
    assert even.dtype == np.dtype(means.get(dtype, dtype)) and even.shape == (96, 96) and (even == 1).all()
    assert abs(noisy.mean(dtype=np.float64) - planes[ImageKey("A01", 1, 2, None, 1)].mean(dtype=np.float64)) <= max(
        0.05 * noisy.max(), 0.6
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_take_no_others_along(tmp_path: Path, bad: float) -> None:
    """A block has the mean of its finite pixels, and is NaN where there is none."""
    output = prepared(str(tmp_path))
    plane = np.full((200, 200), 5, np.float32)
    plane[::7, ::5] = bad
    plane[:100, :100] = bad
    images = {ImageKey("A01", 1, 1, None, 1): plane}
    preview = preview_of(tmp_path / "P1", publish(output, "A01", images, earlier=True, levels=1))
    (small,) = (plane.pixels for plane in preview.planes)
    assert np.isnan(small[:30, :30]).all() and set(np.unique(small[~np.isnan(small)])) == {5}
    assert not np.isnan(small[60:, 60:]).any()


SHAPES = [(1, 1), (20, 16), (60, 60), (90, 130), (256, 256), (1, 3000), (700, 500)]


@pytest.mark.parametrize("backend", ["zarr", "disk"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_preview_has_two_percent_of_its_well_at_most(tmp_path: Path, backend: str, shape: tuple[int, int]) -> None:
    """Its planes become smaller; a well whose planes would show nothing then has none, and its images are read."""
    output = prepared(str(tmp_path), backend)
    manifest = publish(output, "A01", images_of("A01", shape=shape))
    listed = [file.size for file in manifest.files if is_preview(file.path)]
    assert sum(listed) <= 0.02 * (manifest.nbytes - sum(listed)) and len(listed) == (min(shape) >= 90)
    if listed:
        assert min(max(plane.pixels.shape) for plane in stored_preview(output, manifest).planes) >= 12
    preview = preview_of(tmp_path / "P1", manifest)
    assert list(preview.pictures(64, Mosaic.fitting((1, 2), 64, 2))) == ["DAPI", "GFP"]


def test_images_that_are_stored_in_little_room_have_no_large_preview(tmp_path: Path) -> None:
    """An even plane is compressed a thousandfold."""
    output = prepared(str(tmp_path))
    manifest = publish(output, "A01", {ImageKey("A01", 1, 1, None, 1): np.ones((2000, 2000), np.uint16)})
    assert previews_in(manifest) == []
    assert preview_of(tmp_path / "P1", manifest).picture(0, 64, Mosaic.fitting((1,), 64, 1)) is not None


KINDS: dict[str, Callable[[], Images]] = {
    "two sites": lambda: images_of("A01"),
    "sites in one": lambda: {ImageKey("A01", None, 1, None, 1): noise()},
    "booleans": lambda: images_of("A01", dtype="bool", shape=(1400, 1400)),
    "floats with gaps": lambda: {
        key: np.where(noise() > 50_000, np.nan, plane).astype(np.float32) for key, plane in images_of("A01").items()
    },
    "another order of bytes": lambda: {key: plane.astype(">u2") for key, plane in images_of("A01").items()},
    "z planes": lambda: {ImageKey("A01", 1, 1, z, 1): noise(seed=z) for z in range(1, 6)},
    "large": lambda: {ImageKey("A01", 1, 1, None, 1): noise((1100, 1500))},
}


@pytest.mark.parametrize("backend", ["zarr", "disk"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_well_has_the_same_preview(tmp_path: Path, backend: str, kind: str) -> None:
    """Byte for byte: written again, and made of the images as for wells that were published without one."""
    if (backend, kind) == ("disk", "sites in one"):
        pytest.skip("files of TIFF call collapsed sites site 1")
    output = prepared(str(tmp_path), backend)
    manifest = publish(output, "A01", KINDS[kind]())
    (path,) = previews_in(manifest)
    content = output.files.read(path)
    assert preview_of_images(tmp_path / "P1", manifest).encode(manifest.image_bytes) == content
    publish(output, "A01", KINDS[kind]())
    assert output.files.read(path) == content


def test_the_first_time_point_and_the_middle_plane_that_exist_are_shown(tmp_path: Path) -> None:
    """Of each channel and site by itself; no whole well is without a picture because a plane is missing."""
    present = [(1, 1, 1, z) for z in (1, 2, 3)] + [(1, 1, 2, 1), (1, 2, 2, 1), (1, 2, 2, 2), (2, 1, 3, 9), (2, 1, 4, 1)]
    planes = {
        ImageKey("A01", site, c, z, t): np.full((40, 40), 100 * c + 10 * t + z, np.uint16) for site, c, t, z in present
    }
    output = prepared(str(tmp_path))
    preview = preview_of(tmp_path / "P1", publish(output, "A01", planes))
    shown = {(plane.site, plane.channel): int(plane.pixels.max()) for plane in preview.planes}
    assert shown == {(1, 0): 112, (1, 1): 222, (2, 0): 139}
    pictures = preview.pictures(40, Mosaic(sites=(2,), columns=1))
    assert {label: int(picture.max()) for label, picture in pictures.items()} == {"DAPI": 139, "GFP": 222}


@pytest.mark.parametrize(("sites", "shown", "side"), [(1, 1, PREVIEW_PX), (9, 9, SITE_PX), (65, 1, PREVIEW_PX)])
def test_all_sites_are_in_it_or_the_first(tmp_path: Path, sites: int, shown: int, side: int) -> None:
    """The first, where all together would show nothing; it is larger then."""
    planes = {ImageKey("A01", site, 1, None, 1): noise((130, 130), seed=site) for site in range(1, sites + 1)}
    preview = preview_of(tmp_path / "P1", publish(prepared(str(tmp_path)), "A01", planes, earlier=True))
    assert preview.sites == tuple(range(1, shown + 1))
    assert {max(plane.pixels.shape) for plane in preview.planes} == {side}


@pytest.mark.parametrize("earlier", [False, True])
def test_files_of_tiff_of_several_sizes_and_types_are_shown(tmp_path: Path, earlier: bool) -> None:
    """One array could not hold them; each channel has its picture."""
    planes: Images = {
        ImageKey("A01", 1, 1, None, 1): noise((700, 600)),
        ImageKey("A01", 1, 2, None, 1): noise((600, 900), "uint8"),
        ImageKey("A01", 2, 1, None, 1): noise((600, 600), "float32"),
    }
    manifest = publish(prepared(str(tmp_path), "disk"), "A01", planes, earlier=earlier)
    assert len(previews_in(manifest)) == (not earlier)
    preview = preview_of(tmp_path / "P1", manifest)
    assert [plane.dtype for plane in preview.planes] == ["uint16", "uint8", "float32"]
    assert [max(plane.pixels.shape) for plane in preview.planes] == [SITE_PX] * 3
    assert list(preview.pictures(48, Mosaic.fitting((1, 2), 48, 2))) == ["DAPI", "GFP"]


def test_pictures_read_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the overview nor the pictures of wells, where wells have previews."""
    output = prepared(str(tmp_path))
    for well in ("A01", "B01"):
        publish(output, well, images_of(well))

    def refuse(*_: object) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(reading, "preview_of_images", refuse)
    monkeypatch.setattr("openhcs_engine.ngff.reading.reader.open_well", refuse)
    made = write_overview(tmp_path / "P1", "GFP")
    assert made is not None and (made.channel, list(made.tiles)) == ("GFP", ["A01", "B01"])
    assert [well for well, _ in PlateWells(tmp_path / "P1", "zarr").previews()] == ["A01", "B01"]


def test_a_damaged_preview_hides_no_well(tmp_path: Path) -> None:
    """Its images are shown; verification says what is damaged."""
    output = prepared(str(tmp_path))
    manifest = publish(output, "A01", images_of("A01"))
    (path,) = previews_in(manifest)
    content = bytearray(output.files.read(path))
    whole = preview_of_images(tmp_path / "P1", manifest)
    content[len(content) // 2] ^= 1
    change(output, path, bytes(content))
    np.testing.assert_array_equal(preview_of(tmp_path / "P1", manifest).planes[3].pixels, whole.planes[3].pixels)


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 5000])
def test_what_is_no_preview_is_refused(content: bytes) -> None:
    """With the file's name; so are a file of other arrays, and one whose stacks do not fit its text."""
    others = io.BytesIO()
    np.savez(others, planes_0=np.zeros((1, 2, 2)))
    short = io.BytesIO()
    about = {"channels": ["DAPI"], "planes": [[[0, 1, "uint8"], [0, 2, "uint8"]]]}
    np.savez(short, about=np.frombuffer(json.dumps(about).encode(), np.uint8), planes_0=np.zeros((1, 2, 2)))
    for file in (content, others.getvalue(), short.getvalue()):
        with pytest.raises(PlaneReadError, match=r"previews/A01\.npz is not a preview"):
            Preview.decode(file, "previews/A01.npz")


def add(output: PlateFolder, manifest: WellManifest) -> bytes:
    content = preview_of_images(output.folder, manifest).encode(manifest.image_bytes)
    assert content is not None
    output.add_preview(manifest, content)
    return content


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_a_well_that_was_published_without_one_is_given_its_preview(tmp_path: Path, backend: str, fsync: bool) -> None:
    """The one that its worker would have written; nothing else of the well changes, and it is not stale."""
    output = prepared(str(tmp_path), backend)
    assert isinstance(output, PlateFolder)
    before = publish(output, "A01", images_of("A01"), earlier=True)
    assert previews_in(before) == []

    add(replace(output, fsync=fsync), before)

    after = output.published("A01", before.fingerprint)
    assert after is not None and replace(after, files=before.files) == before and after.files[:-1] == before.files
    report = verify(output.address)
    assert (report.whole, report.damaged, report.foreign) == (("A01",), (), ())
    written = publish(output, "A01", images_of("A01"))
    assert [file for file in written.files if is_preview(file.path)] == [after.files[-1]]


def test_a_well_that_was_replaced_meanwhile_keeps_its_own_preview(tmp_path: Path) -> None:
    """The images that were read are not those of now."""
    output = prepared(str(tmp_path))
    assert isinstance(output, PlateFolder)
    before = publish(output, "A01", images_of("A01"), earlier=True)
    now = publish(output, "A01", images_of("A01", dtype="uint8"))
    add_to = contents(output)
    output.add_preview(before, b"a preview of the images before")
    assert contents(output) == add_to and output.published("A01") == now
    output.drop("A01")
    output.add_preview(before, b"a preview of the images before")
    assert output.published("A01") is None


@pytest.mark.parametrize("failing", [1, 2])
def test_a_preview_that_is_interrupted_leaves_the_well_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Whichever of its two files cannot be written; the next sweep removes what is listed nowhere."""
    output = prepared(str(tmp_path))
    assert isinstance(output, PlateFolder)
    before = publish(output, "A01", images_of("A01"), earlier=True)
    write, calls = folder_output.write_whole, []

    def full(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) == failing:
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(folder_output, "write_whole", full)
    with pytest.raises(OutputPlaceError, match="writing the preview of well A01"):
        add(output, before)

    assert output.published("A01") == before and not verify(output.address).damaged
    output.sweep()
    assert not (tmp_path / "P1" / "previews" / "A01.npz").exists() and output.published("A01") == before
    monkeypatch.undo()
    add(output, before)
    assert len(previews_in(output.published("A01") or before)) == 1


def test_a_link_where_previews_go_is_refused(tmp_path: Path) -> None:
    """As anywhere in an output."""
    output = prepared(str(tmp_path))
    assert isinstance(output, PlateFolder)
    before = publish(output, "A01", images_of("A01"), earlier=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "P1" / "previews").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePathError, match="link"):
        add(output, before)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_manifests_of_before_are_written_anew_as_they_were(tmp_path: Path) -> None:
    """What an earlier version wrote is read and written without a loss."""
    output = prepared(str(tmp_path))
    manifest = publish(output, "A01", images_of("A01"), earlier=True)
    assert manifest_from_json(manifest_to_json(manifest), "A01.json") == manifest


def test_an_old_version_of_a_preview_is_swept(tmp_path: Path) -> None:
    """A file that no manifest lists, of a well that is published and of one that is not."""
    output = prepared(str(tmp_path))
    publish(output, "A01", images_of("A01"), earlier=True)
    for well in ("A01", "B01"):
        path = tmp_path / "P1" / "previews" / f"{well}.npz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert verify(output.address).foreign == ("previews/A01.npz", "previews/B01.npz")
    open_output(output.address).sweep()
    assert not (tmp_path / "P1" / "previews").exists() and verify(output.address).whole == ("A01",)


@pytest.mark.parametrize(
    ("path", "preview"),
    [
        ("previews/A01.npz", True),
        ("previews/A01.v0123f.npz", True),
        ("previews/A01/A01_s1_w1_z1_t1.ome.tif", False),
        ("previews/A01/v0123f/A01_s1_w1_z1_t1.ome.tif", False),
        ("previews.zarr/A/01/0/zarr.json", False),
        ("images/A01/A01.npz", False),
    ],
)
def test_a_step_may_keep_its_planes_under_the_same_name(path: str, preview: bool) -> None:
    """They lie a level deeper, so that outputs of earlier versions stay what they are."""
    sets = image_sets_of([path])
    assert is_preview(path) == preview and (sets == frozenset()) == preview
    assert well_of_path(path, {"previews", "previews.zarr", "images"}) == (
        "A01",
        path if preview else published_path(path),
    )
