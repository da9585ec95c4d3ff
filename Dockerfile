# One image, one program: `recarga serve ROLE` is any service, `recarga console` the console. What is in it is that program, the
# few libraries it is linked to, and the certificates that public mail servers and webhooks are known by: no shell, no packages.

# For `docker buildx build --sbom=true`: what the program is made of stands in Cargo.lock, which the image has not.
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true

FROM rust:1.95-slim-trixie AS build
WORKDIR /source
COPY . .
# The registry and the compiled dependencies stay in caches of the engine, so that a change of ours compiles ours only.
RUN --mount=type=cache,id=recarga-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=recarga-target,target=/source/target,sharing=locked \
    cargo build --release --locked --package cli --bin recarga \
 && install -D --strip target/release/recarga /out/recarga

FROM debian:trixie-slim AS contents
COPY --from=build /out/recarga /contents/usr/local/bin/recarga
COPY --from=build /etc/ssl/certs/ca-certificates.crt /contents/etc/ssl/certs/ca-certificates.crt
# The libraries are those that its loader finds, wherever the processor's kind has them.
RUN set -eu; \
    for library in $(ldd /contents/usr/local/bin/recarga | grep -o '/[^ ]*'); do \
        install -D "$library" "/contents$library"; \
    done; \
    install -d -m 1777 /contents/tmp; \
    echo 'hosts: files dns' >/contents/etc/nsswitch.conf; \
    echo 'recarga:x:10001:10001::/tmp:/sbin/nologin' >/contents/etc/passwd; \
    echo 'recarga:x:10001:' >/contents/etc/group; \
    install -d /empty

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="Recarga" \
      org.opencontainers.image.description="A whole distributed system to watch, load, break and prove right" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=contents /contents /
# A volume that is mounted here for backups is its user's; nothing else in the image is, and what must be written goes to /tmp.
COPY --from=contents --chown=10001:10001 --chmod=0700 /empty /backups
USER 10001:10001
WORKDIR /tmp
ENV PATH=/usr/local/bin \
    RECARGA_LISTEN=0.0.0.0:8080 \
    RECARGA_ADMIN_LISTEN=0.0.0.0:9000
EXPOSE 8080 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 \
    CMD ["recarga", "health", "http://127.0.0.1:9000/readyz"]
ENTRYPOINT ["recarga"]
CMD ["--help"]
