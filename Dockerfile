# Images of xds-server, with the Go filters in /filters, and of the upstream of
# docker-compose.yaml: static programs on nothing else, not run as root.
#
#   docker build --target xds-server .
#
# The targets that end in -prebuilt need no image with Go: they take what
# `make image OUT=DIR` built, and DIR is their context. They trust no authority
# for modules from https origins until told of some (--module-ca).

FROM scratch AS xds-server-base
USER 65532:65532
EXPOSE 18000 18001 19000
ENV XDS_SERVER_DEFINITIONS=/definitions XDS_SERVER_DATA=/data XDS_SERVER_MODULE_ROOT=/filters
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/xds-server", "status", "-o", "json"]
ENTRYPOINT ["/xds-server"]
CMD ["serve"]

FROM scratch AS upstream-base
USER 65532:65532
EXPOSE 9000
ENTRYPOINT ["/upstream", "-listen", "0.0.0.0:9000"]

FROM xds-server-base AS xds-server-prebuilt
COPY xds-server /
COPY --chown=65532:65532 data /data

FROM upstream-base AS upstream-prebuilt
COPY upstream /

FROM golang:1.26 AS build
WORKDIR /src
# A patch of Go that go.mod asks for and this image doesn't have is downloaded.
ENV GOTOOLCHAIN=auto
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN make image OUT=/out

FROM upstream-base AS upstream
COPY --from=build /out/upstream /

FROM xds-server-base AS xds-server
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/xds-server /
COPY --from=build --chown=65532:65532 /out/data /data
