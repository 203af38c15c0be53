# BoltLink as a container: docs/containers.md. Built in one stage, with a compiler, and run in another without.
#
#   BASE     Debian 12 or later; with python3 of its own (an image of Python's), or Debian's is installed
#   EXTRAS   of setup.cfg, with commas: embedded (Redis and MongoDB in the same container), tracing
ARG BASE=debian:12-slim

FROM ${BASE} AS build
ARG EXTRAS=
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN set -eu; python=; command -v python3 >/dev/null || python="python3 python3-dev python3-venv"; \
    apt-get update -qq; \
    apt-get install -y -qq --no-install-recommends gcc libc6-dev $python >/dev/null
WORKDIR /opt/boltlink
RUN python3 -m venv .venv
COPY . .
# Wheels of all dependencies, and ours compiled in place: it runs from this folder, beside supervisord.conf and etc/.
# What only builds goes: pip, Cython's compiler (the modules that it made need none of it), and symbols, 36 MB of them.
RUN set -eu; \
    .venv/bin/pip install -q -c constraints.txt -e ".${EXTRAS:+[$EXTRAS]}"; \
    ls app/front/*.so >/dev/null; \
    strip --strip-unneeded $(find app .venv/lib/python3*/site-packages/uvloop .venv/lib/python3*/site-packages/zstandard -name '*.so'); \
    .venv/bin/pip uninstall -q -y pip; \
    rm -rf build .venv/lib/python3*/site-packages/Cython/Compiler .venv/lib/python3*/site-packages/Cython/Utility; \
    .venv/bin/python -m compileall -q app workers; \
    chmod -R go=u,go-w .

FROM ${BASE}
ARG EXTRAS=
# tini is PID 1: it reaps whatever orphan there is, and hands signals on even before Python listens.
RUN set -eu; export DEBIAN_FRONTEND=noninteractive; python=; command -v python3 >/dev/null || python=python3; \
    case ",$EXTRAS," in *,embedded,*) python="$python libcurl4" ;; esac; \
    apt-get update -qq; \
    apt-get install -y -qq --no-install-recommends ca-certificates tini $python >/dev/null; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/*; \
    groupadd --gid 10001 boltlink; \
    useradd --uid 10001 --gid 10001 --home-dir /var/lib/boltlink --no-create-home --shell /usr/sbin/nologin boltlink; \
    install -d -m 0700 -o boltlink -g boltlink /var/lib/boltlink
COPY --from=build /opt/boltlink /opt/boltlink
# The state is a folder in the volume: a volume's own folder may belong to root (Kubernetes' fsGroup), and the state's may not.
ENV PATH=/opt/boltlink/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/boltlink \
    TMPDIR=/var/lib/boltlink \
    BOLTLINK_STATE_DIR=/var/lib/boltlink/state \
    BOLTLINK_HOST=0.0.0.0 \
    BOLTLINK_PORT=8000 \
    BOLTLINK_METRICS_HOST=0.0.0.0 \
    BOLTLINK_METRICS_PORT=8001
USER 10001:10001
WORKDIR /var/lib/boltlink
VOLUME /var/lib/boltlink
EXPOSE 8000 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=70s --retries=3 CMD ["/opt/boltlink/etc/container/healthy"]
ENTRYPOINT ["tini", "--", "boltlink"]
CMD ["up", "--json", "--patient"]
