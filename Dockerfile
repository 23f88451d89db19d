# The training container. scripts/build_image.sh builds it; every instruction is plain enough for a builder without BuildKit.
#
#   BASE          an image with Python 3.11 below /usr/local, and Debian's apt-get
#   VARIANT       gpu or cpu: which lock file is installed
#   BAKED_MODELS  model ids, separated by spaces, whose weights the image is to hold
#   BAKED_FROM    where the weights of a single BAKED_MODELS lie, if not where they are published
#   CUDA_COMPAT   a file in container/: NVIDIA's package cuda-compat-12-N

ARG BASE=python:3.11-slim-bookworm

# Python itself. Official images come without bytecode, and a container would compile the standard library at every start.
# The bytecode is never checked against its source: neither changes in an image, and a copied layer may lose the times.
FROM ${BASE} AS python
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/(site-packages|test|tests|lib2to3|idlelib|turtledemo)/' /usr/local/lib/python3.11

# The locked dependencies, in an environment of its own. sagemaker-training is C code that has to be compiled: the compiler,
# what pip was told about package indexes, and its caches all stay behind in this stage.
FROM ${BASE} AS dependencies
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ARG VARIANT=gpu
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_DEFAULT_TIMEOUT
COPY ${VARIANT}.lock /dependencies.lock
# What builds the sdists is locked as well, so it goes in first. Their `train` would stand in the place of ours.
RUN python -m venv /opt/venv \
    && awk '/^[^ #]/ { wanted = /^(setuptools|wheel)==/ } wanted' /dependencies.lock >/build.lock \
    && /opt/venv/bin/python -m pip install --no-cache-dir --no-compile --no-deps --require-hashes -r /build.lock \
    && /opt/venv/bin/python -m pip install --no-cache-dir --no-compile --no-deps --require-hashes --no-build-isolation \
        -r /dependencies.lock \
    && rm /opt/venv/bin/train
# TensorFlow 2.21 looks for libcusolver in the folders of CUDA's other libraries alone (tensorflow/tensorflow#117538), and
# does without any GPU where it is not. Unlike LD_LIBRARY_PATH, a link holds in a job that sets that variable.
RUN cd /opt/venv/lib/python3.11/site-packages \
    && if [ -d nvidia ]; then cd nvidia/cusparse/lib && ln -s ../../cusolver/lib/libcusolver.so.* .; fi
# TensorFlow's C++ headers are 287 MB, and an image without a compiler has no use for them.
RUN rm -rf /opt/venv/lib/python3.11/site-packages/tensorflow/include \
    && find /opt/venv -name __pycache__ -prune -exec rm -rf {} + \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv

# What starts a container, as a tree to be laid over the root: one script under the name of every verb, what Python does
# first, and NVIDIA's cuda-compat, which the script uses on hosts with an older driver.
FROM ${BASE} AS start
COPY container /container
RUN mkdir -p /start/usr/local/bin /start/opt/venv/lib/python3.11/site-packages \
    && cp /container/sitecustomize.py /start/opt/venv/lib/python3.11/site-packages/ \
    && cd /start/usr/local/bin \
    && install --mode 755 /container/train train \
    && for verb in serve check describe evaluate export predict fetch-weights sample-data; do ln -s train "$verb"; done
ARG CUDA_COMPAT=""
RUN if [ -n "$CUDA_COMPAT" ]; then \
        dpkg-deb --extract "/container/$CUDA_COMPAT" /package \
        && mkdir /start/usr/local/cuda \
        && mv /package/usr/local/cuda-*/compat /start/usr/local/cuda/ \
        && test -e /start/usr/local/cuda/compat/libcuda.so.1; \
    fi

# This package, as a tree to be laid over /opt/venv.
FROM dependencies AS package
COPY pyproject.toml README.md LICENSE /source/
COPY src /source/src
RUN /opt/venv/bin/python -m pip install --no-index --no-cache-dir --no-compile --no-deps --no-build-isolation \
        --prefix /opt/package /source \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/package

# What runs, without weights.
FROM python AS program
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=package /opt/package /opt/venv
COPY --from=start /start /
# NVIDIA_*: what the NVIDIA container runtime puts into a container. The driver is the host's, CUDA comes with the lock.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SAGEMAKER_OD_WEIGHTS_DIR=/opt/weights \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The weights to bake. A model that cannot be had fails the build, with the sentence that says why.
FROM program AS weights
ARG BAKED_MODELS=""
ARG BAKED_FROM=""
RUN mkdir -p /opt/weights \
    && if [ -n "$BAKED_MODELS" ]; then fetch-weights $BAKED_MODELS --to /opt/weights ${BAKED_FROM:+--from "$BAKED_FROM"}; fi

# The image. No ENTRYPOINT: SageMaker runs `docker run IMAGE train`, and local mode may run no command at all.
# Nothing lies below /opt/ml, which belongs to the platform, and the user is root, as hosting needs it.
FROM program
COPY --from=weights /opt/weights /opt/weights
CMD ["train"]
EXPOSE 8080
ARG VARIANT=gpu
ARG BAKED_MODELS=""
ARG VERSION=""
ARG REVISION=""
# accept-bind-to-port: the server listens where SAGEMAKER_BIND_TO_PORT says, so that containers can share an endpoint.
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
      org.opencontainers.image.title="sagemaker-object-detection" \
      org.opencontainers.image.description="A SageMaker training container that fine-tunes TensorFlow object detectors" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      sagemaker-object-detection.variant="${VARIANT}" \
      sagemaker-object-detection.baked-models="${BAKED_MODELS}"
