#!/bin/sh
# One start and one chat (its upstream refuses) prove the installation, and leave V8's code cache in
# NODE_COMPILE_CACHE. The cache is kept by user id, so this runs as the user of the image.
set -eu
export HOME=/tmp/warm OPENCLAW_STATE_DIR=/tmp/warm OPENCLAW_CONFIG_PATH=/tmp/warm/openclaw.json \
    OPENCLAW_GATEWAY_TOKEN=warm-up-warm-up-warm-up
cd /opt/openclaw/node_modules/openclaw
node openclaw.mjs gateway > /tmp/warm/gateway.log 2>&1 &
gateway=$!
curl -sS -f --retry 120 --retry-delay 1 --retry-all-errors -o /dev/null http://127.0.0.1:17567/readyz \
    || { cat /tmp/warm/gateway.log; exit 1; }
curl -s --max-time 15 -o /dev/null http://127.0.0.1:17567/v1/chat/completions \
    -H "Authorization: Bearer $OPENCLAW_GATEWAY_TOKEN" -H 'Content-Type: application/json' \
    -d '{"model": "openclaw", "messages": [{"role": "user", "content": "hello"}]}' || true
kill "$gateway"
wait "$gateway"
du -sh "$NODE_COMPILE_CACHE"
