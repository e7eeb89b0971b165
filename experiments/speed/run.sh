#!/usr/bin/env bash
# Trains the paper's form on phantoms, quantises it, and measures annotation. Usage: experiments/speed/run.sh
# Run it in the checkout's root. Writes runs/paper-form and runs/speed; the same command resumes the training. Leave the machine alone meanwhile.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkpoint=runs/paper-form/checkpoints/best.ckpt

# Half an hour: the paper's form at 8 µm. Precision cannot be judged on random weights, whose maps are noise.
rcm-cascade train run=paper-form model.base_filters=24 data.phantom.mosaics=60 data.phantom.sites=3 data.phantom.seed=21 \
  data.working_pixel_size_um=8 data.sampling=balanced augment.intensity_shift=0.02 optim.lr=3e-3 optim.ema=0.99 \
  trainer.max_time=00:00:30:00

# Quantises it beside the checkpoint, and says what int8 costs.
mosaic=$(ls phantoms/60x6x6mm-8um-seed21-3sites/mosaics/* | head -n 1)
rcm-cascade annotate "$mosaic" --checkpoint "$checkpoint" --precision int8 --accept-loss --out runs/speed/int8

# Everything interleaved in one process; then 4 to 144 MP, each in a process of its own.
python -m experiments.speed.annotation --checkpoint "$checkpoint" --out runs/speed --rounds "${ROUNDS:-3}"
cp runs/speed/annotation.md "$here"

# A small mosaic, whose graphs the first round compiled: the median is of later ones.
python -m experiments.speed.annotation --checkpoint "$checkpoint" --size 2000 3000 --no-series --out runs/speed/small \
  --rounds "${ROUNDS:-3}"
cp runs/speed/small/annotation.md "$here/small.md"

# 144 MP within its bound, as the system sees it.
python -m experiments.speed.large runs/speed/large.tif
/usr/bin/time -v rcm-cascade annotate runs/speed/large.tif --checkpoint "$checkpoint" --out runs/speed/large \
  2>&1 | grep -E 'MP in|Maximum resident|Elapsed'
