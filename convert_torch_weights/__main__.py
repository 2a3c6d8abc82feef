"""`python -m convert_torch_weights` is `lipsync convert`."""

import sys

from lipsync_jax.cli.main import main

sys.exit(main(["convert", *sys.argv[1:]]))
