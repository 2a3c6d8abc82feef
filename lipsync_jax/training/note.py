"""Lines for the person at the terminal, beside a progress bar."""

import sys

import jax


def note(text: str) -> None:
    """Prints a line on stderr, once for all processes."""
    if jax.process_index() == 0:
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)
