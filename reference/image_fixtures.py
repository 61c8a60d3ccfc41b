"""Makes the picture fixtures of m6-image with Pillow: odd colour kinds, and resized pictures.

    python reference/image_fixtures.py          (needs pillow; writes crates/m6-image/tests/fixtures)
"""

import pathlib

from PIL import Image

OUT = pathlib.Path(__file__).parent.parent / "crates/m6-image/tests/fixtures"
SIZES = [(7, 5), (16, 16), (64, 9), (23, 40), (1, 1), (100, 80)]


def pattern(width, height):
    """The picture that the Rust test makes as well."""
    data = bytearray()
    for y in range(height):
        for x in range(width):
            data += bytes([(x * 7 + y * 13) % 256, (x * x + y * 3) % 256, (x ^ (y * 5)) % 256])
    return Image.frombytes("RGB", (width, height), bytes(data))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    source = pattern(41, 29)
    for width, height in SIZES:
        # One axis at a time, columns first: Pillow 13 itself picks the order by the sizes.
        for name, how in [("resize", Image.Resampling.BILINEAR), ("cubic", Image.Resampling.BICUBIC)]:
            resized = source.resize((width, source.height), how).resize((width, height), how)
            resized.save(OUT / f"{name}-{width}x{height}.png")

    red = Image.new("RGB", (16, 8), (200, 30, 40))
    red.convert("CMYK").save(OUT / "cmyk.jpg", quality=95)
    red.convert("L").save(OUT / "grey.jpg", quality=95)
    Image.new("I;16", (5, 3), 0x8000).save(OUT / "grey16.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.save(OUT / "palette-transparent.png", transparency=1)
    palette.save(OUT / "palette.gif")
    red.save(OUT / "plain.bmp")
    alpha = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    alpha.save(OUT / "alpha.png")
    alpha.save(OUT / "alpha.webp", lossless=True)
    grey_alpha = Image.new("LA", (4, 4), (100, 51))
    grey_alpha.save(OUT / "grey-alpha.png")

    half = Image.new("RGB", (24, 16), (0, 0, 255))
    half.paste((255, 0, 0), (0, 0, 24, 8))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        half.save(OUT / f"orientation-{orientation}.jpg", exif=exif, quality=95, subsampling=0)


if __name__ == "__main__":
    main()
