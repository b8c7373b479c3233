#!/usr/bin/env bash
# Installs the Debian packages that Sealcast needs, as far as they are missing.
#   scripts/setup.sh          for `make build` and `make run`
#   scripts/setup.sh test     also for `make test`: real encoders, brokers, players and browsers
#   scripts/setup.sh obs      the same, and OBS, for `make obs-test`
#   scripts/setup.sh bench    the packages of `test`, and the peers that `make bench` measures
set -euo pipefail

build=(build-essential pkg-config clang libclang-dev cmake nasm
       libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libswresample-dev)
test=(ffmpeg mosquitto mosquitto-clients postgresql pebble nginx libnginx-mod-rtmp chromium curl faketime fonts-dejavu-core ca-certificates
      python3 python3-venv
      firefox-esr webkit2gtk-driver xvfb gstreamer1.0-gl
      gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav
      vlc-bin vlc-plugin-base)
obs=(obs-studio)
bench=(wrk nghttp2-client haproxy iproute2)

case "${1:-build}" in
    build) wanted=("${build[@]}") ;;
    test) wanted=("${build[@]}" "${test[@]}") ;;
    obs) wanted=("${build[@]}" "${test[@]}" "${obs[@]}") ;;
    bench) wanted=("${build[@]}" "${test[@]}" "${bench[@]}") ;;
    *) echo "usage: scripts/setup.sh [build|test|obs|bench]" >&2; exit 2 ;;
esac

for tool in cargo node npm; do
    command -v "$tool" >/dev/null || { echo "setup: $tool is missing; install Rust (rustup) and Node.js 20.19 or newer first" >&2; exit 1; }
done

# The web app's tools need Node.js 20.19; Debian 12's own nodejs package is 18.
node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' ||
    { echo "setup: Node.js $(node --version) is too old; install 20.19 or newer" >&2; exit 1; }

# What a viewer's browser checks with is built for WebAssembly.
if command -v rustup >/dev/null; then
    rustup target list --installed | grep -qx wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown
elif [ ! -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]; then
    echo "setup: this Rust has no target wasm32-unknown-unknown; install Rust with rustup, or add the target by hand" >&2
    exit 1
fi

# The runner of the tests, built from its sources (.config/nextest.toml).
test_runner() {
    case "${1:-build}" in test | obs) cargo nextest --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-nextest --version 0.9.143 ;; esac
}

missing=()
for package in "${wanted[@]}"; do
    dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    test_runner "$@"
    exit 0
fi

command -v apt-get >/dev/null || { echo "setup: this script knows Debian only; install by hand: ${missing[*]}" >&2; exit 1; }
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup: run as root, or install: apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
# RUNLEVEL=1 keeps Debian from starting services (nginx, mosquitto) at once: tests start their own on free ports.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
test_runner "$@"
