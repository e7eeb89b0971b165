#!/usr/bin/env bash
# The cascade against a plain U-Net of equal parameters on real data, cross-validated over rats: 4 folds, 2 seeds.
# Usage: experiments/axon_sem/run.sh DATA. DATA holds axon-sem/. Writes runs/axon-sem-crossval; the same command resumes.
set -euo pipefail
data=${1:?give the folder that holds axon-sem}
rcm-cascade train --multirun +sweep=crossval run=axon-sem-crossval data=folder data.root="$data/axon-sem" data.folds=4 \
  model=cascade,unet_parameters seed=0,1 data.patch='128 px' data.batch_size=4 trainer.max_steps=250 optim.lr=3e-3 optim.ema=0.98
rcm-cascade report runs/axon-sem-crossval
