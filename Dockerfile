# One image for all roles, `sealcast`, and one for the broker, `broker`.
#   docker build --target sealcast .                              builds in the image, from this directory
#   docker build --target sealcast --build-arg BINARY=prebuilt .  takes target/image/sealcast, built for Debian 12
# BuildKit skips the stages that a target does not need (before Docker 23: DOCKER_BUILDKIT=1).
ARG BINARY=built

FROM rust:1.95-bookworm AS wasm
WORKDIR /src
RUN rustup target add wasm32-unknown-unknown
COPY . .
RUN cargo rustc --locked --package verify --lib --profile wasm --target wasm32-unknown-unknown --crate-type cdylib

FROM node:22-bookworm-slim AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web ./
COPY --from=wasm /src/target/wasm32-unknown-unknown/wasm/verify.wasm verify/verify.wasm
RUN npm run --silent build

FROM rust:1.95-bookworm AS built
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential pkg-config clang libclang-dev cmake nasm \
        libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libswresample-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
COPY --from=web /src/web/dist web/dist
# The web app has to be newer than its sources, even if its layer came from the cache: this stage has no npm to build it again.
RUN touch web/dist/index.html
RUN cargo build --release --locked --package sealcast && mkdir /out && strip -o /out/sealcast target/release/sealcast

FROM scratch AS prebuilt
COPY target/image/sealcast /out/sealcast

FROM ${BINARY} AS binary

FROM debian:bookworm-slim AS base
# Both images have the same user, so that the broker can read what `sealcast certs cluster` makes for it.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sealcast

FROM base AS sealcast
RUN apt-get update \
 && apt-get install -y --no-install-recommends libavcodec59 libavformat59 libavutil57 libswscale6 libswresample4 \
 && rm -rf /var/lib/apt/lists/* \
 && for directory in /data /trust /keys /certs /certs/ingest /certs/broadcast /certs/loadbalancer /certs/control /certs/broker; do \
        install -d -o sealcast -g sealcast -m 0700 "$directory"; \
    done
COPY --from=binary /out/sealcast /usr/local/bin/sealcast
USER sealcast
ENTRYPOINT ["sealcast"]
CMD ["--help"]

FROM base AS broker
RUN apt-get update \
 && apt-get install -y --no-install-recommends mosquitto \
 && rm -rf /var/lib/apt/lists/*
COPY deploy/mosquitto/mosquitto.conf /etc/mosquitto/mosquitto.conf
USER sealcast
CMD ["mosquitto", "-c", "/etc/mosquitto/mosquitto.conf"]
