"""The demo's result as one page that needs nothing else."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Measure:
    """A number in the report.

    Attributes:
      name: key in report.json.
      value: what was measured.
      wanted: "at least" or "at most", and the bar that a healthy run passes.
      meaning: a sentence for people.
    """

    name: str
    value: float
    wanted: tuple[str, float]
    meaning: str

    @property
    def reached(self) -> bool:
        """Whether the value passes the bar."""
        word, bar = self.wanted
        return self.value >= bar if word == "at least" else self.value <= bar


@dataclass(frozen=True)
class Figure:
    """A picture in the report: PNG bytes and what they show."""

    png: bytes
    caption: str


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; color: #222; }
table { border-collapse: collapse; }
td, th { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: left; }
.no { color: #b00020; }
figure { margin: 2rem 0; }
img, video { max-width: 100%; }
figcaption { color: #555; }
"""


def page(
    title: str,
    introduction: str,
    measures: Sequence[Measure],
    video: bytes,
    figures: Sequence[Figure],
) -> str:
    """The report as HTML, pictures and video inside.

    Args:
      title: of the page.
      introduction: text above everything, plain.
      measures: rows of the table.
      video: MP4.
      figures: below the video, in order.
    """
    rows = "".join(
        f"<tr><td>{html.escape(m.name)}</td>"
        f"<td{'' if m.reached else ' class=no'}>{m.value:.3f}</td>"
        f"<td>{m.wanted[0]} {m.wanted[1]:g}</td><td>{html.escape(m.meaning)}</td></tr>"
        for m in measures
    )
    pictures = "".join(
        f'<figure><img src="{_data("image/png", figure.png)}">'
        f"<figcaption>{html.escape(figure.caption)}</figcaption></figure>"
        for figure in figures
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(introduction)}</p>"
        "<table><tr><th>measure</th><th>value</th><th>bar</th><th>meaning</th></tr>"
        f"{rows}</table>"
        f'<figure><video controls src="{_data("video/mp4", video)}"></video>'
        "<figcaption>The result: a person whom no network saw in training, saying "
        "what somebody else said.</figcaption></figure>"
        f"{pictures}</html>"
    )


def strip(frames: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Rows of pictures (H, W, 3) uint8 of one size as a PNG."""
    from PIL import Image

    grid = np.concatenate([np.concatenate(list(row), axis=1) for row in frames])
    file = io.BytesIO()
    Image.fromarray(grid).save(file, "PNG")
    return file.getvalue()


def mouth_plot(fps: float, wanted: np.ndarray, drawn: np.ndarray) -> bytes:
    """Two mouths over time as a PNG: asked for by the speech (T,), and drawn (T,)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Plot

    figure = Plot(figsize=(10, 2.8), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    seconds = np.arange(len(wanted)) / fps
    for name, values in (("asked for by the speech", wanted), ("drawn", drawn)):
        spread = values.std() or 1.0
        axes.plot(seconds, (values - values.mean()) / spread, label=name)
    axes.set_xlabel("seconds")
    axes.set_ylabel("mouth opening (standardised)")
    axes.legend(loc="upper right")
    file = io.BytesIO()
    canvas.print_png(file)
    return file.getvalue()


def newest(folder: Path) -> bytes:
    """The last picture in a folder of samples."""
    return max(folder.glob("*.png")).read_bytes()


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
