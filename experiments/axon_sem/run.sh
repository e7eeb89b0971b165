#!/usr/bin/env bash
# The cascade against a plain U-Net of equal parameters on real data, cross-validated over rats: 4 folds, 2 seeds.
# Usage: experiments/axon_sem/run.sh DATA. DATA holds axon-sem/. Writes runs/axon-sem-crossval; the same command resumes.
set -euo pipefail
data=${1:?give the folder that holds axon-sem}
rcm-cascade crossval data=folder data.root="$data/axon-sem" data.patch='128 px' data.batch_size=4 trainer.max_steps=250 \
  optim.lr=3e-3 optim.ema=0.98 --designs cascade,unet_parameters --folds 4 --out axon-sem-crossval seed=0,1
