#!/usr/bin/env bash
# Any paper on a Cloud TPU pod slice, the same command on every worker:
#
#   TPU=my-pod ZONE=us-central2-b bash launch/tpu_pod.sh \
#     PAPER --preset=paper --workdir=gs://my-bucket/runs/PAPER --data_dir=gs://my-bucket/data
#
# Change: TPU, ZONE, PROJECT (gcloud's own default when unset), REPOSITORY and REVISION
# (what the workers check out; they need no credentials for a public repository). The
# workdir must be a gs:// path that the workers' service account may write. The same
# line run again goes on where it was saved.
set -euo pipefail
: "${TPU:?name the pod slice, e.g. TPU=my-pod}" "${ZONE:?name its zone, e.g. ZONE=us-central2-b}"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
repository="${REPOSITORY:-$(git -C "$root" remote get-url origin)}"
revision="${REVISION:-$(git -C "$root" rev-parse HEAD)}"

arguments=""
for argument in "$@"; do arguments+=" $(printf '%q' "$argument")"; done
script="set -eu
[ -d jaxvision ] || git clone -q $(printf '%q' "$repository") jaxvision
cd jaxvision && git fetch -q && git checkout -q $(printf '%q' "$revision")
bash launch/local.sh$arguments --accelerator=tpu"

exec gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" \
  ${PROJECT:+--project="$PROJECT"} --worker=all --command="$script"
