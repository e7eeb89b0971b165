#!/usr/bin/env bash
# How does training scale: one process to two, measured; 8 GPUs and 8 machines, computed; memory on small cards.
# Usage: experiments/scaling/run.sh. Writes the tables here; ten minutes. Leave the machine alone meanwhile.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python "$here/measure.py" "$here"
python "$here/memory.py" "$here"
python "$here/model.py" "$here"
