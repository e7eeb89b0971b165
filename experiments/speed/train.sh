#!/usr/bin/env bash
# How fast training is, its parts, and MONAI's. Usage: experiments/speed/train.sh [OVERRIDE of both …]
# Run it in the checkout's root. Writes runs/speed-train and runs/speed-train-paper, and copies their tables here. Leave the machine alone meanwhile.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# The default scale: 8 filters, 64 px. Ten rounds, because a round is seconds and other work comes and goes.
python -m experiments.speed.training --out runs/speed-train --rounds "${ROUNDS:-10}" --steps 20 "$@"

# The paper's form: 24 filters, 512 px. On a CPU a step of 16 patches takes a minute, so two patches and few steps there,
# and nothing is compiled; on a GPU: PAPER= STEPS=50 experiments/speed/train.sh
read -ra paper <<<"${PAPER---no-compile data.batch_size=2 data.phantom.mosaics=6 data.phantom.size_mm=[2.5,2.5]}"
python -m experiments.speed.training experiment=paper "${paper[@]}" --out runs/speed-train-paper \
  --rounds "${PAPER_ROUNDS:-5}" --steps "${STEPS:-3}" "$@"

# Both at the end: a changed file would mark the second table's commit.
cp runs/speed-train/training.md "$here/training.md"
cp runs/speed-train-paper/training.md "$here/training_paper.md"
