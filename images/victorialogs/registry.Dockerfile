# VictoriaLogs for image source `registry`: the official image, which holds its binary and nothing else, runs as root and has
# no folder for data. A folder of nobody's and a wget for the health check make it the same as ./Dockerfile.
ARG PARENT
FROM busybox:1.37.0-musl AS tools
RUN mkdir /vlogs && chown 65534:65534 /vlogs

FROM ${PARENT}
COPY --from=tools /bin/busybox /bin/wget
COPY --from=tools --chown=65534:65534 /vlogs /vlogs
USER 65534:65534
STOPSIGNAL SIGTERM
