"""Executes notebooks in place, as they are committed; all of them, or those named. Without a name it also paints the
picture at the top of the README.
"""

import argparse
from pathlib import Path

import nbformat
from PIL import Image

from nsutils import Settings, encoders, pictures, sample, stylize
from nsutils.notebook import executed, presentable
from nsutils.samples import PICTURES, samples

EDGE, INSET = 420, 110  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK.ipynb")
    named = parser.parse_args().notebooks
    for file in named or sorted(Path(__file__).parent.glob("*.ipynb")):
        print(file.name)
        nbformat.write(presentable(executed(file, seconds=3600)), file)  # a cell may paint eight
    if not named:
        front_page().save(PICTURES.parent / "readme.jpg", quality=88)


def front_page() -> Image.Image:
    """One photograph in every sample style, each style small in the corner, three in a row."""
    encoder, painted = encoders.load(), []
    for name, style in samples("style").items():
        print(name)
        *_, last = stylize(Settings(sample("waterside"), str(style), size=EDGE), encoder)
        image = pictures.to_image(last.image)
        corner = pictures.thumbnail(pictures.opened(style), INSET)
        frame = Image.new("RGB", (corner.width + 4, corner.height + 4), "white")
        frame.paste(corner, (2, 2))
        image.paste(frame, (image.width - frame.width, image.height - frame.height))
        painted.append(image)
    width, height = painted[0].size
    page = Image.new("RGB", (3 * width + 16, (height + 8) * (len(painted) // 3) - 8), "white")
    for place, image in enumerate(painted):
        page.paste(image, (place % 3 * (width + 8), place // 3 * (height + 8)))
    return page


if __name__ == "__main__":
    main()
