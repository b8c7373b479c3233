#!/usr/bin/env bash
# Tests the cluster of docker-compose.yml from nothing: makes the images, starts it, views streams through both balancers, checks every
# signature and byte, adds broadcast nodes, replaces the authority, and ends it. Only the images remain.
#   scripts/compose-test.sh [BINARY]      default: target/release/sealcast; it has to be built for Debian 12
# If no Docker daemon answers, the script starts one (as root) and ends it. If no registry answers, it makes the base image with
# debootstrap, under the name that the Dockerfile uses.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${1:-target/release/sealcast}
base=debian:bookworm-slim
project=sealcast-compose-test
patience_s=180
reread_s=6   # nodes read their certificates again every 5 s
work=$(mktemp -d)
daemon=""
bridge=$(ip link show docker0 2>/dev/null || true)   # a bridge that existed before stays

say() { echo "compose-test: $*"; }
fail() { echo "compose-test: $*" >&2; exit 1; }

# Debian's client belongs to Debian's daemon; another client on the path may lack BuildKit.
[ ! -x /usr/bin/docker ] || PATH=/usr/bin:$PATH

[ -x "$binary" ] || fail "$binary is not there: make build"
missing=()
command -v dockerd >/dev/null || missing+=(docker.io)
command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1 || missing+=(docker-compose)
command -v debootstrap >/dev/null || missing+=(debootstrap)
command -v curl >/dev/null || missing+=(curl)
[ ${#missing[@]} -eq 0 ] || fail "missing: apt-get install ${missing[*]}"
compose=(docker-compose)
command -v docker-compose >/dev/null || compose=(docker compose)
compose+=(--project-name "$project")

export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1 SEALCAST_BINARY=prebuilt

stop() {
    local status=$?
    trap - EXIT
    if [ $status -ne 0 ]; then
        "${compose[@]}" ps || true
        "${compose[@]}" logs --tail 15 || true
    fi
    "${compose[@]}" down --volumes --remove-orphans --timeout 5 >"$work/down.log" 2>&1 || true
    if [ -n "$daemon" ]; then
        say "ending the Docker daemon"
        kill "$daemon" 2>/dev/null || true
        for _ in $(seq 100); do kill -0 "$daemon" 2>/dev/null || break; sleep 0.2; done
        [ -n "$bridge" ] || ip link delete docker0 2>/dev/null || true
    fi
    rm -rf "$work"
    [ $status -eq 0 ] && say "OK"
    exit $status
}
trap stop EXIT

# Tries a command until it succeeds.
await() {
    local what=$1 until=$((SECONDS + patience_s))
    shift
    until "$@" >"$work/await.log" 2>&1; do
        [ $SECONDS -lt $until ] || { cat "$work/await.log" >&2; fail "waited $patience_s s in vain for $what"; }
        sleep 1
    done
}

if ! docker info >/dev/null 2>&1; then
    [ "$(id -u)" -eq 0 ] || fail "no Docker daemon answers; start it, or run this as root"
    say "starting a Docker daemon"
    export DOCKER_HOST=unix://$work/docker.sock
    dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" >"$work/dockerd.log" 2>&1 &
    daemon=$!
    await "the Docker daemon" docker info
fi

if ! docker image inspect $base >/dev/null 2>&1 && ! timeout 60 docker pull --quiet $base >/dev/null 2>&1; then
    say "no registry answers; making $base"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/root" >"$work/debootstrap.log" ||
        { tail -5 "$work/debootstrap.log" >&2; fail "debootstrap failed"; }
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
    tar -C "$work/root" -c . | docker import - $base >/dev/null
    rm -rf "$work/root"
fi

say "building the images"
mkdir -p target/image
strip -o target/image/sealcast "$binary"
"${compose[@]}" build >"$work/build.log" 2>&1 || { tail -20 "$work/build.log" >&2; fail "the images do not build"; }

say "starting the cluster"
"${compose[@]}" up --detach >"$work/up.log" 2>&1 || { tail -20 "$work/up.log" >&2; fail "the cluster does not start"; }
"${compose[@]}" exec -T lb1 cat /certs/loadbalancer/ca.pem >"$work/ca.pem"
"${compose[@]}" exec -T control cat /trust/root.pub >"$work/root.pub"

# Fetches a path below /live/ through the balancer on a port, as a viewer: get PORT PATH.
get() {
    curl --silent --show-error --fail --max-time 10 --cacert "$work/ca.pem" \
        --resolve "streaming-cluster.test:$1:127.0.0.1" "https://streaming-cluster.test:$1/live/$2"
}
sequence() { get "$1" "$2/audio/index.m3u8" | sed -n 's/.*LAST-MSN=\([0-9]*\).*/\1/p' | head -1; }
advances() { local now; now=$(sequence "$1" "$2") && [ -n "$now" ] && [ "$now" -gt "$3" ]; }

for way in "443 demo1" "8443 demo2"; do
    read -r port stream <<<"$way"
    await "stream $stream on port $port" get "$port" "$stream/audio/index.m3u8"
    await "a first segment of $stream" advances "$port" "$stream" 0
    before=$(sequence "$port" "$stream")
    await "stream $stream to go on" advances "$port" "$stream" "$before"
    say "$stream plays through the balancer on port $port"
done

"$binary" seal verify https://127.0.0.1/live/demo1 --cluster streaming-cluster --ca "$work/ca.pem" --root "$work/root.pub" --media

say "eight broadcast nodes"
"${compose[@]}" up --detach --scale broadcast=8 >"$work/scale.log" 2>&1 || { tail -20 "$work/scale.log" >&2; fail "it does not scale"; }
nodes() { "${compose[@]}" exec -T control sealcast node list | grep -c '^b[0-9].* broadcast .* online'; }
eight() { [ "$(nodes)" -eq 8 ]; }
await "eight nodes" eight

# All eight nodes have identities of their own. A broadcast node has no files of other roles.
"${compose[@]}" exec -T broadcast sh -c 'test -z "$(find /certs -type f -not -path "/certs/broadcast/*")"' ||
    fail "a broadcast node sees other roles' secrets"
say "another authority takes over while it plays"
certs() { "${compose[@]}" run --rm --no-deps certs certs "$@" >"$work/certs.log" 2>&1 || { cat "$work/certs.log" >&2; fail "certs $*"; }; }
old=$(cat "$work/ca.pem")
certs rotate --dir /certs --step trust
sleep $reread_s
certs rotate --dir /certs --step issue
# The broker reads its files again on SIGHUP.
"${compose[@]}" kill -s HUP mosquitto >/dev/null 2>&1
sleep $reread_s
certs rotate --dir /certs --step forget
"${compose[@]}" exec -T lb1 cat /certs/loadbalancer/ca.pem >"$work/ca.pem"
[ "$old" != "$(cat "$work/ca.pem")" ] || fail "the authority is still the old one"
sleep $reread_s

for way in "443 demo1" "8443 demo2"; do
    read -r port stream <<<"$way"
    before=$(sequence "$port" "$stream") || fail "viewers who trust the new authority see nothing on port $port"
    await "$stream to go on under the new authority" advances "$port" "$stream" "$before"
done
# Nodes that start now have only new certificates, and running nodes have to accept them.
"${compose[@]}" restart --timeout 5 ingest2 lb2 >"$work/restart.log" 2>&1
await "demo2 through a balancer that started anew" get 8443 demo2/audio/index.m3u8
before=$(sequence 443 demo2)
await "demo2 from an ingest that started anew" advances 443 demo2 "$before"
"$binary" seal verify https://127.0.0.1/live/demo2 --cluster streaming-cluster --ca "$work/ca.pem" --root "$work/root.pub" --media

say "direct delivery"
direct=("${compose[@]}" --file docker-compose.yml --file deploy/compose/direct.yml)
"${direct[@]}" up --detach >"$work/direct.log" 2>&1 || { tail -20 "$work/direct.log" >&2; fail "it does not deliver directly"; }
# Fetches a path below /live/ from a broadcast node, as a browser that was steered there: from NODE PATH.
from() {
    curl --silent --show-error --fail --max-time 10 --cacert "$work/ca.pem" \
        --resolve "b$1.streaming-cluster.test:9443:127.0.1.$1" "https://b$1.streaming-cluster.test:9443/live/$2"
}
for node in 1 2 3 4; do
    await "demo1 straight from b$node" from $node demo1/audio/index.m3u8
done
steered() { get 443 demo1/index.m3u8 | grep -q '^#EXT-X-CONTENT-STEERING:' && get 443 demo1/steering.json | grep -q '"b[1-4]"'; }
await "the balancer to steer to the nodes" steered
