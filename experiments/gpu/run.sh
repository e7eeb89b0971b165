#!/usr/bin/env bash
# What a GPU machine has to say in nine minutes: is it exact there, how fast is annotation, how fast is training, and what
# does the paper's form reach. Usage: OUT=figures experiments/gpu/run.sh [--rehearse]; runs/ and phantoms/ go to the current
# folder.
#   --rehearse  every part, small, on this processor.
# Each part has its own limit and writes its figures as it ends; what is late is cut off and the next begins. README.md says
# how to bring packages to a machine without a network.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$(realpath -m "${OUT:-gpu-figures}") python=${PYTHON:-python3} device=gpu limits=1
if [ "${1:-}" = --rehearse ]; then
  device=cpu limits=10 # a rehearsal is of the commands, not of their time
elif [ $# -gt 0 ]; then
  echo "error: $1 is no option; the only one is --rehearse" >&2
  exit 2
fi
mkdir -p "$out"
if [ -d "$root/.whl" ] && [ "$device" = gpu ]; then
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site "$root"/.whl/*.whl || exit 1
  export PYTHONPATH=/tmp/site
fi
export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$root RCM_CASCADE_CACHE=${RCM_CASCADE_CACHE:-/tmp/rcm-cache}
cli=("$python" -m rcm_cascade)
nvidia-smi -L >"$out/machine.txt" 2>/dev/null
"$python" -c 'import sys, torch; print("Python", sys.version.split()[0], "torch", torch.__version__)' >>"$out/machine.txt"

failed=0
part() { # NAME SECONDS COMMAND…: runs it within its limit, keeps its log, says how it ended
  local name=$1 limit=$(($2 * limits)) started=$SECONDS code=0
  shift 2
  timeout --signal=INT --kill-after=20 "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
  echo "$name: status $code, $((SECONDS - started)) of $limit s" | tee -a "$out/parts.txt"
  [ "$code" = 0 ] || failed=1
  tail -n 6 "$out/$name.log"
}

paper=(run=paper data.root=phantoms/gpu-paper data.phantom.seed=71 data.phantom.sites=3 experiment=paper data.sampling=balanced
  augment.intensity_shift=0.02 optim.lr=3e-3 optim.ema=0.99 trainer.accelerator="$device")
small=(data.phantom.mosaics=16 'data.phantom.size_mm=[3,3]' data.phantom.pixel_size_um=2 data.phantom.seed=5 data.working_pixel_size_um=2
  data.sampling=balanced optim.lr=3e-3 trainer.accelerator="$device")
if [ "$device" = gpu ]; then
  tests=cuda minute=00:00:01:00 form=(model.base_filters=24 'data.patch=256 px')
  paper+=(data.phantom.mosaics=40 'data.phantom.size_mm=[5,5]' data.phantom.pixel_size_um=1 trainer.max_time=00:00:03:00)
  annotation=(--rounds 3) step=('data.patch=512 px') training=(--rounds 5 --steps 20 --no-compile)
else
  tests=cpu minute=00:00:00:05 form=(model.base_filters=4 'data.patch=64 px')
  small+=(data.phantom.mosaics=5 'data.phantom.size_mm=[2,2]' data.phantom.pixel_size_um=8 data.working_pixel_size_um=8)
  paper+=(data.phantom.mosaics=6 'data.phantom.size_mm=[2,2]' data.phantom.pixel_size_um=8 data.working_pixel_size_um=8 scale=cpu
    model.base_filters=4 'data.patch=64 px' trainer.max_time=00:00:00:05)
  annotation=(--rounds 1 --size 256 320 --no-series) step=('data.patch=64 px' model.base_filters=4 data.batch_size=4)
  training=(--rounds 1 --steps 2 --no-compile)
fi

# The paper's mosaics are drawn by all cores while the tests run, whose times say nothing.
"${cli[@]}" batch "${paper[@]}" --out "$out/batch.png" >"$out/phantoms.log" 2>&1 &
drawing=$!
part tests 90 env RCM_CASCADE_TEST_DEVICE="$tests" "$python" -m pytest -m gpu -q -p no:cacheprovider -c "$root/pyproject.toml" --rootdir "$root" \
  --timeout 80 "$root/tests/test_gpu.py"
wait $drawing || echo "the paper's mosaics were not drawn: see phantoms.log" | tee -a "$out/parts.txt"

part trained 100 "${cli[@]}" train run=gpu-trained "${small[@]}" "${form[@]}" "trainer.max_time=$minute" trainer.validation_mosaics=1
part annotation 110 "$python" -m experiments.speed.annotation --checkpoint runs/gpu-trained/checkpoints/best.ckpt \
  --out "$out/annotation" "${annotation[@]}"
part training 70 "$python" -m experiments.speed.training experiment=paper "${small[@]}" "${step[@]}" --out "$out/training" "${training[@]}"
part paper 260 "${cli[@]}" train "${paper[@]}" trainer.validation_mosaics=1
part scores 60 "${cli[@]}" evaluate runs/paper/checkpoints/best.ckpt --data phantoms/gpu-paper --out "$out/paper"
cp runs/paper/metrics.csv "$out/paper/" 2>/dev/null
cat "$out/machine.txt" "$out/parts.txt" "$out"/*/*.md 2>/dev/null
exit $failed
