"""The reader of images: real files of every kind, and bytes that are none."""

from __future__ import annotations

import io
import os
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from got_r1.data.prepare import read_pixels
from got_r1.errors import BadInput
from got_r1.files.images import FORMATS, MOST_PIXELS, UnreadableImage, open_image
from got_r1.files.inputs import read_image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def noise(width: int = 60, height: int = 40) -> Image.Image:
    """Grey, so that no format's palette or chroma changes it much."""
    values = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4), np.uint8)
    return Image.fromarray(values.repeat(4, 0).repeat(4, 1)).convert("RGB")


def pixel(image: Image.Image, kind: str = "PNG", **options: object) -> tuple[int, ...]:
    """The top-left pixel of an image as it is read."""
    read = open_image(encoded(image, kind, **options))
    assert read.mode == "RGB"
    found = read.getpixel((0, 0))
    assert isinstance(found, tuple)
    return tuple(int(value) for value in found)


def grey(values: list[float], dtype: type) -> Image.Image:
    return Image.fromarray(np.array([values], dtype))


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_read_the_same_everywhere(tmp_path: Path, kind: str) -> None:
    data = encoded(noise(), kind)
    path = tmp_path / "image.png"  # the content decides, not the suffix
    path.write_bytes(data)
    expected = np.asarray(noise())
    image = np.asarray(open_image(data))
    assert np.abs(image.astype(int) - expected).mean() < 10
    assert (read_image(path) == image).all()
    square = np.asarray(open_image(path).resize((8, 8), Image.Resampling.BICUBIC))
    assert (read_pixels(data, 8) == square).all()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    data = encoded(noise(), kind)
    with pytest.raises(UnreadableImage):
        open_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", ["EPS", "DDS", "PCX", "TGA", "PPM", "ICO"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(UnreadableImage, match="in none of the formats PNG, JPEG"):
        open_image(encoded(noise(), kind))


@pytest.mark.parametrize(
    ("mode", "color", "shown"),
    [
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
        ("LA", (0, 0), (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 32896, (128, 128, 128)),
    ],
)
def test_transparency_is_white_and_grey_is_grey(mode: str, color: object, shown: object) -> None:
    assert pixel(Image.new(mode, (4, 4), color)) == shown  # type: ignore[arg-type]


def test_a_transparent_palette_is_white() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([9, 9, 9, 0, 0, 200])
    assert pixel(image) == (0, 0, 200)
    assert pixel(image, transparency=1) == (255, 255, 255)
    assert pixel(image, "GIF", transparency=1) == (255, 255, 255)


@pytest.mark.parametrize(
    ("values", "dtype", "shown"),
    [
        ([0.5, 1.0], np.float32, 128),
        ([128.0, 255.0], np.float32, 128),
        ([32896.0, 65535.0], np.float32, 128),
        ([32896, 65535], np.int32, 128),
        ([2**30, 2**31 - 1], np.int32, 128),
        ([32896, 1], np.uint16, 128),
    ],
)
def test_wide_grey_is_scaled(values: list[float], dtype: type, shown: int) -> None:
    assert pixel(grey(values, dtype), "TIFF") == (shown, shown, shown)


@pytest.mark.parametrize("values", [[np.nan, 1.0], [-0.5, 1.0], [1.0, np.inf], [1e9, 0.0]])
def test_grey_of_no_known_range_is_refused(values: list[float]) -> None:
    with pytest.raises(UnreadableImage, match="grey values from"):
        pixel(grey(values, np.float32), "TIFF")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(noise(), kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert (np.asarray(open_image(data)) == np.asarray(expected)).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_no_orientation() -> None:
    data = encoded(noise(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert open_image(data).size == (60, 40)


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it has this size, of a few kilobytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content).to_bytes(4)
        return len(content).to_bytes(4) + name + content + check

    head = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    body = zlib.compress(bytes(10**6), 9)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7_072, 10_000, 12_000, 100_000])  # Pillow warns, then raises
def test_too_many_pixels_are_refused_before_decoding(side: int, tmp_path: Path) -> None:
    assert side**2 > MOST_PIXELS
    (tmp_path / "x.png").write_bytes(png_of(side, side))
    with pytest.raises(UnreadableImage, match="more than 50,000,000 pixels") as raised:
        open_image(tmp_path / "x.png")
    assert raised.value.problem == "too many pixels"
    with pytest.raises(BadInput, match=r"x\.png cannot be read as an image .* 50 million pixels"):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize("name", ["fifo", "folder", "/dev/zero", "link", "x" * 300, "a\0b"])
def test_only_regular_files_are_opened(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("fifo")
    with pytest.raises(BadInput, match="cannot be read as an image"):
        read_image(tmp_path / name)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no image"):
        read_image(tmp_path / "x.png")


VALID = [encoded(noise(16, 8), kind) for kind in FORMATS]


@settings(max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.tuples(
            st.sampled_from(VALID), st.integers(0, 400), st.binary(min_size=1, max_size=12)
        ).map(lambda drawn: drawn[0][: drawn[1]] + drawn[2] + drawn[0][drawn[1] + len(drawn[2]) :]),
    )
)
@example(b"")
@example(b"II*\0" + bytes(8))
def test_any_bytes_are_an_image_or_unreadable(data: bytes) -> None:
    with suppress(UnreadableImage):
        image = open_image(data)
        assert image.mode == "RGB"
        assert image.width * image.height <= MOST_PIXELS
