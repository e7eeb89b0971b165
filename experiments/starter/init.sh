#!/usr/bin/env bash
# Few labelled patients, from random weights and from the starter's, two jobs at a time, one thread each; writes table.md.
# Usage: experiments/starter/init.sh [KEY=VALUE …]. The same command resumes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1

lane() {
  local fraction=$1
  shift
  rcm-cascade train --multirun +sweep=starter experiment=few_labels "data.labelled_fraction=$fraction" seed=0,1 \
    "run=starter-$fraction" "$@"
  rcm-cascade report "runs/starter-$fraction"
}

lane 0.05 "$@" & first=$!
lane 0.2 "$@" & second=$!
failed=0
wait "$first" || failed=1
wait "$second" || failed=1
[ "$failed" = 0 ] || exit 1
python "$here/saved.py" "$here/table.md" runs/starter-0.05 runs/starter-0.2
