#!/usr/bin/env bash
# Runs the linter and the tests in a virtual environment of the project's own.
# usage: bash launch/test.sh [--slow] [PYTEST OPTIONS]
#   --slow    also the tests that take minutes (memory, an hour of sound)
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
set_up_environment test
select=()
if [ "${1:-}" = "--slow" ]; then
    shift
    select=(-m "slow or not slow")
fi
ruff check .
ruff format --check .
python -m pytest "${select[@]}" "$@"
