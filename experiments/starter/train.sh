#!/usr/bin/env bash
# Trains the starter model, scores it on its held-out phantoms, exports it into the package, and writes its card's table.
# The same command resumes. Run in the checkout's root, in which runs/ and phantoms/ are made.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1
rcm-cascade train experiment=starter run=starter
rcm-cascade evaluate runs/starter/checkpoints/best.ckpt --data phantoms/120x6x6mm-8um-seed31-3sites
python "$here/export.py" runs/starter
