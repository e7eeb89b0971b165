#!/usr/bin/env bash
# What to measure first on a GPU machine: does it train, is annotation exact there, how fast is each. About 8 minutes, each
# part within its own limit. Usage, in the checkout's root: OUT=figures experiments/gpu/first.sh
# DEVICE=cpu SHORT=1 rehearses it. Figures and logs go to $OUT as each part ends. README.md says how to bring the packages:
# beyond those of gpu_wheels.sh, the wheels of typer, shellingham, annotated-doc, seaborn and typing-inspection.
set -uo pipefail
out=${OUT:-gpu-first} device=${DEVICE:-gpu} short=${SHORT:-} python=${PYTHON:-python3}
mkdir -p "$out"
if [ -d .whl ] && [ "$device" = gpu ]; then
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site .whl/*.whl || exit 1
  export PYTHONPATH=/tmp/site
fi
export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$PWD RCM_CASCADE_CACHE=${RCM_CASCADE_CACHE:-/tmp/rcm-cache}
cli=("$python" -m rcm_cascade)
nvidia-smi -L >"$out/machine.txt" 2>&1

part() { # NAME SECONDS COMMAND…
  local name=$1 limit=$2 started=$SECONDS code=0
  shift 2
  [ -z "$short" ] || limit=$((limit * 5)) # a rehearsal is of the commands, not of their time
  timeout --signal=INT --kill-after=20 "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
  echo "$name: status $code, $((SECONDS - started)) s" | tee -a "$out/parts.txt"
  tail -n 4 "$out/$name.log" | cut -c 1-160
}

minute=00:00:01:10 filters=24 patch='256 px' large='512 px' annotated=(--rounds 3) trained=(--rounds 5 --steps 20 --no-compile)
small=(data.phantom.mosaics=16 'data.phantom.size_mm=[3,3]' data.phantom.pixel_size_um=2 data.phantom.seed=5 data.working_pixel_size_um=2)
if [ -n "$short" ]; then
  minute=00:00:00:05 filters=4 patch='64 px' large='64 px'
  annotated=(--rounds 1 --size 256 320 --no-series) trained=(--rounds 1 --steps 2 --no-compile model.base_filters=4 data.batch_size=4)
  small=(data.phantom.mosaics=5 'data.phantom.size_mm=[2,2]' data.phantom.pixel_size_um=8 data.phantom.seed=5 data.working_pixel_size_um=8)
fi
part smoke 90 "${cli[@]}" train +debug=fast run=smoke "trainer.accelerator=$device"
part trained 150 "${cli[@]}" train run=trained "${small[@]}" "data.patch=$patch" "model.base_filters=$filters" \
  data.sampling=balanced optim.lr=3e-3 "trainer.accelerator=$device" "trainer.max_time=$minute" trainer.validation_mosaics=1
cp runs/trained/metrics.csv "$out/" 2>/dev/null
part exact 60 "$python" experiments/gpu/exact.py runs/trained/checkpoints/best.ckpt
part annotate 170 "$python" -m experiments.speed.annotation --checkpoint runs/trained/checkpoints/best.ckpt \
  --out "$out/annotate" "${annotated[@]}"
part train 120 "$python" -m experiments.speed.training experiment=paper "${small[@]}" "data.patch=$large" \
  "trainer.accelerator=$device" --out "$out/train" "${trained[@]}"
cat "$out/parts.txt" "$out"/annotate/*.md "$out"/train/*.md 2>/dev/null
