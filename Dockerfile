# The app from its wheel, with a compiler, so that the native drawing code is built at first use.
FROM python:3.12-slim AS base
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /gsr
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt

FROM base AS wheel
COPY . .
RUN pip wheel --no-deps --wheel-dir /wheels .

# docker build --target tests
FROM wheel AS tests
RUN pip install --no-cache-dir -r requirements-dev.txt
CMD ["python", "-m", "pytest"]

FROM base AS app
# The requirements are there already: this adds the program alone.
RUN --mount=from=wheel,source=/wheels,target=/wheels pip install --no-cache-dir "$(echo /wheels/*.whl)[app,video]"

# What is fetched or built outlives the container in a volume here.
ENV GSR_CACHE=/cache
VOLUME /cache
EXPOSE 7860
CMD ["gsr", "app", "--host", "0.0.0.0"]
