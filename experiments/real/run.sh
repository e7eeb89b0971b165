#!/usr/bin/env bash
# Trains, evaluates and annotates on the two real data sets. Usage: experiments/real/run.sh DATA
# DATA holds axon-sem/ and aerial/. Writes runs/axon-sem and runs/aerial; the same command resumes.
set -euo pipefail
data=${1:?give the folder that holds axon-sem and aerial}
here=$(cd "$(dirname "$0")" && pwd)

# Ten minutes on two cores: the held-out rat's image, against clean manual labels.
rcm-cascade train run=axon-sem data=folder data.root="$data/axon-sem" data.batch_size=4 trainer.max_time=00:00:10:00
rcm-cascade evaluate runs/axon-sem/checkpoints/best.ckpt --data "$data/axon-sem" --split test
rcm-cascade annotate "$data/axon-sem/mosaics/sub-rat6-data15.png" --pixel-size 0.13 \
  --checkpoint runs/axon-sem/checkpoints/best.ckpt --out runs/axon-sem/annotated

# Five minutes on tile5; tile2 validates; tiles 7 and 8 (33.7 and 28.6 MP), which overlap no training tile, are scored whole.
rcm-cascade train run=aerial data=folder data.root="$data/aerial" data.split_file="$here/aerial-split.csv" \
  data.batch_size=4 data.patch='256 px' trainer.max_time=00:00:05:00
rcm-cascade evaluate runs/aerial/checkpoints/best.ckpt --data "$data/aerial" --split test
rcm-cascade annotate "$data/aerial/mosaics/tile7.ome.tif" "$data/aerial/mosaics/tile8.tif" \
  --checkpoint runs/aerial/checkpoints/best.ckpt --out runs/aerial/annotated
