#!/usr/bin/env bash
# Runs one paper on this machine, from nothing but Python and git:
#
#   bash launch/local.sh PAPER [--accelerator=cpu|cuda|tpu] [flags of the experiment]
#   bash launch/local.sh content_authentication
#   bash launch/local.sh content_authentication --preset=smoke --config.steps=10
#
# Makes the environment when it is missing or stale, runs the demo preset, prints the
# path of report.html, and ends with the experiment's exit status.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

paper="" accelerator=cpu flags=()
while [ $# -gt 0 ]; do
  case "$1" in
    --accelerator=*) accelerator="${1#*=}" ;;
    --accelerator) shift; accelerator="${1:-}" ;;
    -*) flags+=("$1") ;;
    *) if [ -z "$paper" ]; then paper="$1"; else flags+=("$1"); fi ;;
  esac
  shift || true
done

papers=""
for folder in "$root"/jaxvision/papers/[a-z]*/; do
  name="$(basename "$folder")"
  if [ -f "$root/experiments/$name.py" ]; then papers+=" $name"; fi
done
case "$papers " in
  *" ${paper:-?} "*) ;;
  *) echo "local.sh: name a paper, not '$paper':$papers" >&2; exit 2 ;;
esac
case "$accelerator" in
  cpu) extras=demo ;;
  cuda | tpu) extras="demo,$accelerator" ;;
  *) echo "local.sh: --accelerator=$accelerator is not one of cpu, cuda, tpu" >&2; exit 2 ;;
esac

environment "$extras"
export JAX_PLATFORMS="${JAX_PLATFORMS:-$accelerator}"
exec "$python" -m "experiments.$paper" ${flags[@]+"${flags[@]}"}
