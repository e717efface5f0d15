# The command alone, for CI systems and for the docker hooks of .pre-commit-hooks.yaml: no Envoy is inside, so `validate`, `render`,
# `diff` and `schema` work, and `run` needs an Envoy beside it (--envoy none).
#
#   docker build --tag flexgw/flexgw .
#   docker run --rm --volume "$PWD":/src:ro --workdir /src flexgw/flexgw validate gateways
FROM golang:1.26 AS build
WORKDIR /build
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /flexgw .

# With a shell: GitLab and Jenkins run their scripts in the image. They, and pre-commit, choose the user themselves.
FROM alpine:3.22
COPY --from=build /flexgw /usr/local/bin/flexgw
ENTRYPOINT ["flexgw"]
CMD ["--help"]
