#!/usr/bin/env bash
# One question by one sweep, in the setting of experiment=ablation. Usage: experiments/ablation.sh SWEEP FOLDER [KEY=VALUE …]
# Writes runs/SWEEP with its report.html, and results.csv, levels.csv, gradients.csv, table.md and figure.png into
# experiments/FOLDER. The same command resumes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
sweep=$1 folder=$here/$2
shift 2
rcm-cascade train --multirun "+sweep=$sweep" experiment=ablation "run=$sweep" "$@"
rcm-cascade report "runs/$sweep"
mkdir -p "$folder"
cp "runs/$sweep/results.csv" "runs/$sweep/levels.csv" "runs/$sweep/gradients.csv" "$folder"
python "$here/summarise.py" "$folder"
