#!/usr/bin/env bash
# Trains on drawn talkers and lip-syncs one, with nothing to download; ends with a
# report. About ten minutes on two CPU cores.
# usage: bash launch/demo.sh [FOLDER [--quick]]     (default: demo_out)
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
set_up_environment ""
lipsync demo --out "${1:-demo_out}" "${@:2}"
