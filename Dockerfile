# The app with its own compiler, so that the native drawing code builds itself at first start.
FROM python:3.12-slim

RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /gsr
COPY requirements*.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY . .

# What is fetched or built outlives the container in a volume here.
ENV GSR_CACHE=/cache
VOLUME /cache
EXPOSE 7860
CMD ["python", "app.py", "--host", "0.0.0.0"]
