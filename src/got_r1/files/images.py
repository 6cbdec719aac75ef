"""Images of users: the one reader, which decodes what it knows and refuses the rest."""

from __future__ import annotations

import io
import stat
import threading
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

__all__ = ["FORMATS", "MOST_PIXELS", "UnreadableImage", "open_image"]

# Pillow knows some forty formats; several run programs (EPS) or are decoded by little-used code.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MOST_PIXELS = 50_000_000  # cameras have up to 50 million; decoding takes about 0.5 GB (our choice)
LARGE = 8_000_000  # pixels from which on images are decoded one at a time (our choice)
_one_large = threading.Lock()

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Of damaged EXIF, of sizes beyond our limit: what matters becomes an UnreadableImage.
warnings.filterwarnings("ignore", module=r"PIL\.")


class UnreadableImage(ValueError):
    """An image cannot be used: `problem` is the kind of reason, the text says more."""

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem


def open_image(source: Path | str | bytes) -> Image.Image:
    """A decoded image, in mode RGB, of a file or a file's content.

    It is turned as its EXIF orientation says, and what is transparent is white, as viewers show it.
    16-bit grey is scaled by its type. Float and 32-bit values are taken to be in 0..1, 0..255,
    0..65535 or (integers) 0..2^31 - 1, whichever is the smallest that holds the largest value. Of
    an animation, the first frame is read.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImage: it is not a regular file, in none of `FORMATS`, damaged or truncated, of
            more than `MOST_PIXELS`, or has pixels of no known range.
    """
    if not isinstance(source, bytes):
        try:
            kind = Path(source).stat().st_mode
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:  # no permission, too long, a zero byte
            raise UnreadableImage("unreadable image file", _words(error)) from None
        if not stat.S_ISREG(kind):  # opening a FIFO waits for its writer
            raise UnreadableImage("not a regular file", "not a regular file")
    try:
        with Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS
        ) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise _too_large(width, height)
            with _one_large if width * height > LARGE else nullcontext():
                return _to_rgb(_turn_upright(image))
    except (UnreadableImage, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage("too many pixels", f"more than {MOST_PIXELS:,} pixels") from None
    except Exception as error:  # what Pillow raises for damaged files has no common class
        raise UnreadableImage("corrupt image", f"{type(error).__name__}: {_words(error)}") from None


def _too_large(width: int, height: int) -> UnreadableImage:
    return UnreadableImage(
        "too many pixels", f"{width} x {height}, more than {MOST_PIXELS:,} pixels"
    )


def _words(error: Exception) -> str:
    """What an error says, without the address of the buffer that Pillow names."""
    if isinstance(error, UnidentifiedImageError):
        return f"in none of the formats {', '.join(FORMATS)}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _turn_upright(image: Image.Image) -> Image.Image:
    image.load()  # before the orientation is asked for: Pillow turns TIFFs itself
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF says nothing of the pixels
        orientation = None
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return _to_8_bits(image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or floats in 8 bits."""
    values = np.asarray(image)
    largest = float(values.max())
    if image.mode.startswith("I;16"):
        top = 65535.0
    else:
        tops = (65535.0, 2.0**31 - 1) if image.mode == "I" else (1.0, 255.0, 65535.0)
        top = next((top for top in tops if largest <= top), float("nan"))
    if not (float(values.min()) >= 0 and largest <= top):  # NaN too
        raise UnreadableImage(
            "pixels of no known range", f"grey values from {values.min()} to {values.max()}"
        )
    return Image.fromarray(np.round(values * (255 / top)).astype(np.uint8))
