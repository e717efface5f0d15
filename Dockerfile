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

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /flexgw /flexgw
USER 65534:65534
ENTRYPOINT ["/flexgw"]
CMD ["--help"]
