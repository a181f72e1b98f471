# The publisher as a container; compose.yaml builds it.
FROM python:3.13-slim
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY publisher publisher
COPY firmware firmware
RUN pip install --no-cache-dir --constraint constraints.txt . && rm -rf /src
WORKDIR /
USER 1000
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["claude-gauge"]
CMD ["publish"]
