#!/usr/bin/env bash
# Evaluate with several processes: dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
# Environment as in MMPose: NNODES, NODE_RANK, MASTER_ADDR, PORT; also PYTHON. Without GPUs the processes share the CPU.
set -euo pipefail

CONFIG=${1:?usage: dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]}
CHECKPOINT=${2:?usage: dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]}
GPUS=${3:?usage: dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]}
TOOLS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
PYTHON=${PYTHON:-$([ -x "$TOOLS/../.venv/bin/python" ] && echo "$TOOLS/../.venv/bin/python" || echo python)}

if [ "${NNODES:-1}" = 1 ] && [ -z "${PORT:-}" ]; then
    PLACE=(--standalone)  # finds a free port by itself, so that two runs can share a machine
else
    PLACE=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}"
           --master_port="${PORT:-29500}")
fi

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
exec "$PYTHON" -m torch.distributed.run "${PLACE[@]}" --nproc_per_node="$GPUS" \
    "$TOOLS/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
