#!/usr/bin/env bash
# The paper's experiment on phantoms: 70 mosaics, 70 : 30 by patient, the cascade trained and scored on whole mosaics; then
# cascade, plain U-Net and ensemble at equal time. Usage: experiments/paper/run.sh SCALE [PARTS]
#   SCALE  paper: 24 filters at 1 µm, for a GPU, half an hour in all; cpu: 12 filters at 8 µm, for a core or two.
#   PARTS  at most so many parts now, each under nine minutes (default: all). The same command goes on with the rest.
# Writes runs/paper-SCALE-*, and into $OUT (default: here) the table, the scores and the weights in bfloat16.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scale=${1:?give a scale: paper or cpu}
left=${2:-1000}
out=${OUT:-$here}

if command -v rcm-cascade >/dev/null; then cli=(rcm-cascade); else cli=(python3 -m rcm_cascade); fi
common=(scale="$scale" data.root="phantoms/paper-$scale" data.phantom.mosaics=70 'data.phantom.size_mm=[5,5]' data.phantom.sites=3 data.phantom.seed=71
  data.sampling=balanced augment.intensity_shift=0.02 optim.lr=3e-3 optim.ema=0.99)
case $scale in
  paper) filters=24 long=00:00:10:00 short=00:00:03:00 ;;
  cpu) filters=12 long=00:00:20:00 short=00:00:06:00 ;;
  *)
    echo "error: scale $scale is not known; give paper or cpu" >&2
    exit 2
    ;;
esac
common+=("model.base_filters=$filters")

# A part that is not done in time is interrupted, and goes on from its last epoch the next time.
part() {
  local name=$1 code
  shift
  while true; do
    if [ "$left" -le 0 ]; then
      echo "parts are left; the same command goes on with $name" >&2
      exit 0
    fi
    left=$((left - 1)) code=0
    timeout --foreground --signal=INT --kill-after=30 "${PART_S:-500}" "$@" || code=$?
    case $code in
      0) return ;;
      124 | 137) echo "$name is interrupted after a part" >&2 ;;
      *) exit "$code" ;;
    esac
  done
}

# One design: trained, and scored on the test mosaics. What is finished is left alone, within seconds, and costs no part.
design() {
  local run=paper-$scale-$1 time=$2 model=$3 before=$left
  local folder=runs/$run
  [ -f "$folder/result.json" ] || before=
  part "$run" "${cli[@]}" train "run=$run" "model=$model" "${common[@]}" "trainer.max_time=$time"
  left=${before:-$left}
  if ! [ "$folder/evaluation/metrics.json" -nt "$folder/checkpoints/best.ckpt" ]; then
    part "$run, scoring" "${cli[@]}" evaluate "$folder/checkpoints/best.ckpt" --data "phantoms/paper-$scale"
  fi
}

# Whole or not at all, so it is not cut into parts: 27 minutes of one core at scale=paper, all cores at once.
if [ ! -f "phantoms/paper-$scale/dataset.yaml" ]; then
  "${cli[@]}" batch "${common[@]}" --out "runs/paper-$scale-batch.png"
  left=$((left - 1))
fi
design long "$long" cascade
design cascade "$short" cascade
design unet "$short" unet_parameters
design ensemble "$short" ensemble
python3 "$here/table.py" "$scale" "$out"
