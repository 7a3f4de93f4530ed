# The image of every node of a cluster: Ray, what weakseg needs, and weakseg itself. README, "On a cluster".
#   docker build --tag REGISTRY/weakseg:2.60.0-py311-gpu .
#   docker build --tag REGISTRY/weakseg:2.60.0-py311-cpu \
#       --build-arg DEVICE=cpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
# Ray and Python are the ones that pyproject.toml allows: head, workers and driver must have the same.
ARG RAY=2.60.0
ARG DEVICE=gpu
FROM rayproject/ray:${RAY}-py311-${DEVICE}
ARG RAY
# Another index of PyTorch builds; empty takes the usual ones, which hold CUDA.
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# The image's own user, not root.
USER ray
RUN mkdir /home/ray/weakseg
WORKDIR /home/ray/weakseg

# Dependencies in a layer of their own: it is made again only when pyproject.toml changes.
COPY --chown=ray:users pyproject.toml README.md LICENSE ./
RUN echo "ray==${RAY}" > constraints.txt \
    && PIP_EXTRA_INDEX_URL="${TORCH_INDEX}" pip install --constraint constraints.txt ".[pipelines,onnx]" \
    && pip uninstall --yes weakseg \
    && rm -rf build constraints.txt *.egg-info

COPY --chown=ray:users weakseg weakseg
COPY --chown=ray:users pipelines pipelines
RUN pip install --no-deps . \
    && rm -rf build *.egg-info \
    && python -c "import pipelines.active, weakseg"

WORKDIR /home/ray
