#!/usr/bin/env bash
# One process per GPU on this machine, at a free port, or on several machines:
# set NNODES, NODE_RANK, MASTER_ADDR and PORT. Without GPUs it runs on CPUs,
# given --cfg-options env_cfg.dist_cfg.backend=gloo.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: bash tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]" >&2
    exit 2
fi
inputs=("${@:1:1}")
gpus=$2
tools=$(dirname "$0")
meeting=(--standalone)
if [ -n "${NNODES:-}${PORT:-}" ]; then
    meeting=(
        --nnodes="${NNODES:-1}"
        --node-rank="${NODE_RANK:-0}"
        --master-addr="${MASTER_ADDR:-127.0.0.1}"
        --master-port="${PORT:-29500}"
    )
fi
PYTHONPATH="$tools/..:${PYTHONPATH:-}" exec python -m torch.distributed.run \
    "${meeting[@]}" \
    --nproc-per-node="$gpus" \
    "$tools/train.py" "${inputs[@]}" --launcher pytorch "${@:3}"
