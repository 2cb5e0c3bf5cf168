# The image: one static binary, and what distroless/static has (time zones, CA certificates, a user without rights).
#
# What stands behind FROM are tags, and a tag can move: nobody but a registry knows a digest. So a build by hand is in what the
# tags are that day. A release asks for the digests once, builds for both kinds of machine in exactly those, and names them
# (.ci/releasable). Where a digest stands behind a tag (`@sha256:…`), the release takes that one, and dependabot renews it.
# All that builds stands in .ci/build, which .ci/run runs as well.
#
#   docker build --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" --tag foredeck .

FROM rust:1.95.0-bookworm AS build
WORKDIR /foredeck
COPY .ci/build .ci/build
RUN .ci/build --tools
COPY . .
ARG SOURCE_DATE_EPOCH=0
RUN .ci/build /out/foredeck

FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="foredeck" \
      org.opencontainers.image.description="The deck in front of Spinnaker: deployments asked for in Slack, with kubectl or by a commit" \
      org.opencontainers.image.source="https://github.com/foredeck/foredeck" \
      org.opencontainers.image.documentation="https://github.com/foredeck/foredeck/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/foredeck /foredeck
# By number, so that Kubernetes can tell that it isn't root.
USER 65532:65532
ENTRYPOINT ["/foredeck"]
