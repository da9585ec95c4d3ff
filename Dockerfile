# One image, one binary: `recarga serve ROLE` is any service, `recarga console` the console.

FROM rust:1.95-slim-trixie AS build
WORKDIR /source
COPY . .
# The registry and the compiled dependencies stay in caches of the engine, so that a change of ours compiles ours only.
RUN --mount=type=cache,id=recarga-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=recarga-target,target=/source/target,sharing=locked \
    cargo build --release --locked --package cli --bin recarga \
 && install -D --strip target/release/recarga /out/recarga

FROM debian:trixie-slim
COPY --from=build /out/recarga /usr/local/bin/recarga
# Nothing in the image belongs to this user; what must be written goes to /tmp.
USER 10001:10001
WORKDIR /tmp
ENV RECARGA_LISTEN=0.0.0.0:8080 \
    RECARGA_ADMIN_LISTEN=0.0.0.0:9000
EXPOSE 8080 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=2s --timeout=4s --start-period=60s --retries=3 \
    CMD ["recarga", "health", "http://127.0.0.1:9000/readyz"]
ENTRYPOINT ["recarga"]
CMD ["--help"]
