#!/usr/bin/env bash
# Converts a checkpoint and lip-syncs a drawn clip with it; nothing to download.
# usage: bash launch/demo.sh [FOLDER]     (default: demo_out)
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
set_up_environment ""
lipsync demo --out "${1:-demo_out}"
