#!/usr/bin/env bash
# Trains on phantoms of which about .35 (null: drawn for each), none or .9 of the meshwork is deformed, and scores them where half is. Writes table.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rcm-cascade train --multirun experiment=ablation data.phantom.deformed_meshwork=null,0,0.9 seed=0,1,2 run=meshwork
python "$here/meshwork.py" runs/meshwork "$here/table.md"
