#!/usr/bin/env bash
# Environment, lint and tests, from nothing but Python and git:
#
#   bash launch/test.sh [flags of pytest]
#
# Two workers with one XLA thread each. Ends with the first failing status.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

environment demo,test
export JAX_PLATFORMS=cpu
cd "$root"
"$python" -m ruff check .
"$python" -m ruff format --check .
exec "$python" -m pytest -n 2 --dist=worksteal "$@"
