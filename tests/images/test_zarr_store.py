"""Zarr folders that were made to hang, to take all memory, or to show files outside of them."""

import json
import os
import struct

import numcodecs
import numpy as np
import pytest
import zarr

from napari_patchioner.errors import ImageError
from napari_patchioner.images import open_levels

SIDE = 96
CHUNK = 64


def plain(path, version=3, **options):
    """An array in four pieces; its pixels and the file of its first piece."""
    pixels = np.random.default_rng(0).integers(0, 250, (SIDE, SIDE)).astype(np.uint8)
    array = zarr.create_array(
        path, shape=(SIDE, SIDE), chunks=(CHUNK, CHUNK), dtype="u1", zarr_format=version, **options
    )
    array[...] = pixels
    return pixels, path / ("0.0" if version == 2 else "c/0/0")


def read(path):
    levels = open_levels(path)
    return levels.given[0].read(0, 0, *levels.shape)


def refused(path):
    """Why a folder is not read."""
    with pytest.raises(ImageError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def described(path, shape, chunks, name=".zarray", **changes):
    """A folder that only describes an array."""
    path.mkdir(exist_ok=True)
    about = {"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": "|u1", "order": "C"}
    about |= {"compressor": None, "fill_value": 0, "filters": None, **changes}
    (path / name).write_text(json.dumps(about))
    return path


# what is there instead of a file


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_or_device_for_a_piece_is_told(tmp_path, version):
    _, piece = plain(tmp_path / "a.zarr", version)
    piece.unlink()
    os.mkfifo(piece)
    assert "is a pipe, socket or device" in refused(tmp_path / "a.zarr")
    piece.unlink()
    piece.symlink_to("/dev/zero")
    assert "/dev/zero, which is not in the folder" in refused(tmp_path / "a.zarr")


@pytest.mark.parametrize(("version", "name"), [(2, ".zattrs"), (2, ".zarray"), (3, "zarr.json")])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_or_device_for_a_description_is_told(tmp_path, version, name):
    path = tmp_path / "a.zarr"
    plain(path, version)
    (path / ".zgroup").write_text("{}")  # by this it is zarr, whatever else
    (path / name).unlink(missing_ok=True)
    os.mkfifo(path / name)
    assert "is a pipe, socket or device" in refused(path)
    (path / name).unlink()
    (path / name).symlink_to("/dev/zero")
    assert "which is not in the folder" in refused(path)


def test_a_folder_shows_no_file_that_lies_elsewhere(tmp_path):
    pixels, piece = plain(tmp_path / "a.zarr", compressors=None)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(CHUNK * CHUNK))
    piece.rename(tmp_path / "a.zarr" / "kept")
    piece.symlink_to("../../kept")
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), pixels)
    # The folder itself may be a link, as many keep their images in another place.
    (tmp_path / "linked.zarr").symlink_to(tmp_path / "a.zarr")
    np.testing.assert_array_equal(read(tmp_path / "linked.zarr"), pixels)
    piece.unlink()
    piece.symlink_to(secret)
    assert f"{secret}, which is not in the folder; copy it there" in refused(tmp_path / "a.zarr")


def test_a_size_that_lies_elsewhere_is_told(tmp_path):
    plain(tmp_path / "secret.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    (tmp_path / "a.zarr" / "0").symlink_to(tmp_path / "secret.zarr")
    assert "which is not in the folder" in refused(tmp_path / "a.zarr")
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "../secret.zarr"}]}]}
    refused(tmp_path / "a.zarr")


def test_a_missing_piece_is_empty(tmp_path):
    pixels, piece = plain(tmp_path / "a.zarr")
    piece.unlink()
    pixels[:CHUNK, :CHUNK] = 0
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), pixels)


# sizes and counts


def test_a_piece_or_description_larger_than_it_can_be_is_not_read(tmp_path):
    for version in (2, 3):
        _, piece = plain(tmp_path / f"{version}.zarr", version)
        os.truncate(piece, 3 * 2**30)
        assert "is larger than a piece" in refused(tmp_path / f"{version}.zarr")
    plain(tmp_path / "a.zarr")
    os.truncate(tmp_path / "a.zarr" / "zarr.json", 2**24)
    assert "zarr.json: is larger than" in refused(tmp_path / "a.zarr")


def test_pieces_that_are_too_many_or_too_large_are_told(tmp_path):
    path = described(tmp_path / "a.zarr", [4000, 4000], [1, 1])
    assert "lies in 16,000,000 pieces of 1 values" in refused(path)
    # Small pieces of a plane, though each holds much of other planes.
    path = described(path, [4096, 4000, 4000], [4096, 1, 1])
    assert "lies in 16,000,000 pieces of 1 values" in refused(path)
    path = described(path, [40000, 40000], [30000, 30000])
    assert "lies in pieces of 900,000,000 bytes" in refused(path)
    # Blocks of a volume are common, and so are small pieces of a small image.
    read(described(path, [64, 64, 64], [32, 32, 32]))
    read(described(path, [64, 64], [1, 1]))


def test_more_sizes_or_arrays_than_an_image_has_are_told(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.attrs["multiscales"] = [{"datasets": [{"path": "0"}] * 50_000}]
    assert "lists 50,000 sizes of one image" in refused(tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "b.zarr", mode="w", zarr_format=2)
    for number in range(5000):
        (tmp_path / "b.zarr" / str(number)).touch()
    assert "holds more than 4,096 files and folders side by side" in refused(tmp_path / "b.zarr")


def test_sizes_of_different_axes_are_told(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", shape=(64, 64), dtype="u1")
    group.create_array("1", shape=(2, 32, 32), dtype="u1")
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "0"}, {"path": "1"}]}]}
    assert "its sizes have different axes" in refused(tmp_path / "a.zarr")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_what_a_group_repeats_of_its_arrays_is_not_believed(tmp_path, version):
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=version)
    array = group.create_array("0", shape=(SIDE, SIDE), chunks=(CHUNK, CHUNK), dtype="u1")
    array[...] = 7
    zarr.consolidate_metadata(path, zarr_format=version)
    name = path / (".zmetadata" if version == 2 else "zarr.json")
    told = name.read_text()
    assert told != name.write_text(told.replace("96", "1000000"))
    assert read(path).shape == (SIDE, SIDE)
    assert (read(path) == 7).all()


# what unpacks to more than its size

PACKERS = {
    "blosc": numcodecs.Blosc("zstd"),
    "zstd": numcodecs.Zstd(),
    "gzip": numcodecs.GZip(),
    "zlib": numcodecs.Zlib(),
    "bz2": numcodecs.BZ2(),
    "lz4": numcodecs.LZ4(),
}


@pytest.mark.parametrize("name", PACKERS)
def test_a_piece_that_unpacks_to_more_than_its_size_is_told(tmp_path, name):
    packer = PACKERS[name]
    path = tmp_path / "a.zarr"
    pixels, piece = plain(path, 2, compressors=packer)
    np.testing.assert_array_equal(read(path), pixels)
    piece.write_bytes(packer.encode(bytes(2**26 + 2**22)))
    assert piece.stat().st_size < 2**19
    described(path, [2**11] * 2, [2**11] * 2, compressor=packer.get_config())
    assert refused(path).endswith("0.0: unpacks to more than its size; it is damaged")


def zstd(blocks, repeated=2**17):
    """A frame that does not say to how much it unpacks: blocks of one byte, repeated."""
    block = [
        struct.pack("<I", (number == blocks - 1) | 1 << 1 | repeated << 3)[:3] + b"\7"
        for number in range(blocks)
    ]
    return b"\x28\xb5\x2f\xfd\x00\x58" + b"".join(block)


def test_frames_that_do_not_tell_their_size_are_looked_through(tmp_path):
    path = tmp_path / "a.zarr"
    _, piece = plain(path, 2, compressors=PACKERS["zstd"])
    piece.write_bytes(zstd(1, CHUNK * CHUNK))
    assert (read(path)[:CHUNK, :CHUNK] == 7).all()
    piece.write_bytes(zstd(1000))
    assert "unpacks to more than its size" in refused(path)
    piece.write_bytes(zstd(1, CHUNK * CHUNK) + zstd(400))
    assert "unpacks to more than its size" in refused(path)


@pytest.mark.parametrize("location", ["start", "end"])
def test_pieces_within_a_shard_are_looked_at_as_well(tmp_path, location):
    path = tmp_path / "a.zarr"
    array = zarr.create_array(
        path,
        shape=(64, 128),
        chunks=(32, 32),
        shards={"shape": (64, 64), "index_location": location},
        dtype="u1",
        compressors=zarr.codecs.ZstdCodec(),
    )
    pixels = np.random.default_rng(0).integers(0, 250, (64, 128)).astype(np.uint8)
    array[...] = pixels
    np.testing.assert_array_equal(read(path), pixels)
    shard = path / "c" / "0" / "0"
    bomb = numcodecs.Zstd().encode(bytes(2**28))
    count = 16 * 4 + 4
    index = [(count if location == "start" else 0, len(bomb))] * 4
    places = b"".join(struct.pack("<QQ", *place) for place in index)
    places = bytes(numcodecs.CRC32C().encode(places))
    shard.write_bytes(places + bomb if location == "start" else bomb + places)
    assert "unpacks to more than its size" in refused(path)
    # A part of it, too.
    with pytest.raises(ImageError, match="unpacks to more than its size"):
        open_levels(path).given[0].read(0, 0, 8, 8)
    shard.write_bytes(places[: count // 2])
    assert "is cut off" in refused(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": [{"id": "zlib"}], "compressor": {"id": "zlib"}},
        {"filters": [{"id": "zlib"}, {"id": "crc32"}]},
        {"compressor": {"id": "lzma"}},
        {"compressor": {"id": "base64"}},
        {"filters": [{"id": "astype", "encode_dtype": "|u1", "decode_dtype": "<U100000"}]},
        {"dtype": "<U100", "fill_value": ""},
        {"dtype": "|O", "fill_value": None, "filters": [{"id": "pickle"}]},
        {"dtype": "|O", "fill_value": None, "filters": [{"id": "json2"}]},
        {"compressor": {"id": "pickle"}},
    ],
)
def test_what_is_no_packed_pixels_is_told(tmp_path, changes):
    path = described(tmp_path / "a.zarr", [64, 64], [64, 64], **changes)
    (path / "0.0").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    refused(path)


@pytest.mark.parametrize(
    "filters",
    [
        [numcodecs.Delta("u1")],
        [numcodecs.FixedScaleOffset(0, 1, "u1", "f8")],
        [numcodecs.Shuffle(1)],
    ],
)
def test_usual_filters_are_read(tmp_path, filters):
    pixels, _ = plain(tmp_path / "a.zarr", 2, filters=filters)
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), pixels)


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": [zarr.codecs.BloscCodec(), zarr.codecs.Crc32cCodec()]},
        {
            "compressors": zarr.codecs.GzipCodec(),
            "filters": zarr.codecs.TransposeCodec(order=(1, 0)),
        },
        {"compressors": None, "shards": (128, 128)},
        {"compressors": zarr.codecs.GzipCodec(), "shards": (128, 128)},
    ],
)
def test_usual_codecs_are_read(tmp_path, options):
    pixels, _ = plain(tmp_path / "a.zarr", **options)
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), pixels)


def test_a_window_over_many_large_pieces_is_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_patchioner.images._zarr._AT_ONCE", CHUNK * CHUNK)
    pixels, _ = plain(tmp_path / "a.zarr")
    level = open_levels(tmp_path / "a.zarr").given[0]
    np.testing.assert_array_equal(level.read(0, 0, SIDE, SIDE), pixels)
    np.testing.assert_array_equal(level.read(60, 3, 10, 90), pixels[60:70, 3:93])
