#!/usr/bin/env bash
# Starts the stack of compose.yaml with throw-away secrets and volumes, and asks it through TLS.
# Needs Docker; the image `evenkeel` has to be built.
set -euo pipefail
cd "$(dirname "$0")/.."

export COMPOSE_PROJECT_NAME=evenkeel-smoke HTTP_PORT=18080 HTTPS_PORT=18443
python3 deploy/make_secrets.py
trap 'docker compose down --volumes --timeout 20' EXIT
docker compose up --detach --wait --wait-timeout 240 nginx worker

answer=$(curl --silent --show-error --fail --insecure https://localhost:18443/readyz)
echo "$answer"
grep -q '"status":"ok"' <<<"$answer"
curl --silent --show-error --fail --insecure --output /dev/null https://localhost:18443/static/unfold/css/styles.css
curl --silent --insecure --head https://localhost:18443/admin/login/ | grep -qi '^strict-transport-security'
echo "The stack answers."
