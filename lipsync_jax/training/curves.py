"""Pictures of how a run went."""

import io
from collections.abc import Sequence
from typing import Any

_NOT_A_CURVE = {  # what rows hold besides the task's metrics
    "kind",
    "step",
    "time",
    "learning_rate",
    "steps_per_second",
    "examples_per_second",
    "flops_per_second",
    "host_wait",
    "memory",
    "peak_memory",
}
_COLUMNS = 3


def draw(rows: Sequence[dict[str, Any]]) -> bytes:
    """A PNG with one panel per metric, training and evaluation together.

    Args:
      rows: of a log.jsonl.
    """
    # Without pyplot: no display, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["kind"] in ("train", "eval")]
    names = [name for row in rows for name in row if name not in _NOT_A_CURVE]
    names = list(dict.fromkeys(names))
    lines = max(1, -(-len(names) // _COLUMNS))
    figure = Figure(figsize=(5 * _COLUMNS, 3.2 * lines), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for index, name in enumerate(names):
        axes = figure.add_subplot(lines, _COLUMNS, index + 1)
        for kind, style in (("train", ".-"), ("eval", "o-")):
            points = [
                (row["step"], row[name])
                for row in rows
                if row["kind"] == kind and row.get(name) is not None
            ]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=kind, markersize=3)
        axes.set_title(name)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.legend()
    file = io.BytesIO()
    canvas.print_png(file)
    return file.getvalue()
