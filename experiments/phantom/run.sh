#!/usr/bin/env bash
# Measures and draws the phantoms, and asks whether they are easy and whether they can be learnt.
# Usage: experiments/phantom/run.sh. Writes runs/phantom-* and copies tables and figures here; the same command resumes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# Are they like skin? The figures of real mosaics beside the phantoms', and a sheet to look at.
python "$here/measure.py"
python "$here/sheet.py"

# Are they easy? Gradient boosting on grey level, local mean and variance; 24 patients in three folds.
python "$here/baseline.py"

# Can they be learnt? 12 filters at 8 µm, 80 patients; twenty minutes of training on two cores.
python "$here/cascade.py"

cp runs/phantom-texture/texture.md runs/phantom-sheet/{mosaics,patterns}.jpg "$here"
cp runs/phantom-baseline/baseline.md runs/phantom-cascade/{cascade.md,confusions.jpg} "$here"
