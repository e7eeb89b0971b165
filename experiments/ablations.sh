#!/usr/bin/env bash
# Every comparison of designs, two jobs at a time on two cores, one thread each. Usage: experiments/ablations.sh DATA
# DATA holds axon-sem/. Jobs that several questions share run once; the same command resumes. See README.md for the cost.
set -euo pipefail
data=${1:?give the folder that holds axon-sem}
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1

first_lane() {
  "$here/ablation.sh" levels levels
  "$here/ablation.sh" depth_increment depth_increment
  "$here/ablation.sh" loss_weights loss_weights
  "$here/ablation.sh" error_injection error_injection
}

second_lane() { # axon-sem first: meanwhile the first lane trains the cascade that the others share
  "$here/axon_sem/run.sh" "$data"
  # At 8 filters model=unet_flops is the same network as model=unet_parameters: 9 filters.
  "$here/ablation.sh" baselines multires_baseline model=cascade,unet_parameters,ensemble,dynunet
  "$here/ablation.sh" labelled_fraction labelled_fraction data.labelled_fraction=1,0.25,0.1 model=cascade
  "$here/meshwork/run.sh"
}

first_lane & first=$!
second_lane & second=$!
wait "$first" && wait "$second"
