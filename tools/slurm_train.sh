#!/usr/bin/env bash
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS may be set.
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR" \
        "[arguments of tools/train.py]" >&2
    exit 2
fi
tools=$(dirname "$0")
# SRUN_ARGS holds several words.
# shellcheck disable=SC2086
PYTHONPATH="$tools/..:${PYTHONPATH:-}" exec srun \
    --partition="$1" \
    --job-name="$2" \
    --gres=gpu:"${GPUS_PER_NODE:-8}" \
    --ntasks="${GPUS:-8}" \
    --ntasks-per-node="${GPUS_PER_NODE:-8}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    python -u "$tools/train.py" "$3" --work-dir "$4" --launcher slurm "${@:5}"
