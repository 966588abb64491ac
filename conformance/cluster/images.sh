# The images of the cluster's own pods and of the conformance suite's, under the names that their manifests want; sourced
# by `cluster`. An exact name is never pulled, so that no registry is needed.

build_images() {
  local registry=registry.k8s.io
  mkdir "$1/images"
  image "$1" pause -tag "$registry/pause:$pause" -user 65535:65535 -entrypoint /pause "$1/pause:/pause" \
    && image "$1" coredns -tag "$registry/coredns/coredns:v1.14.2,$registry/coredns/coredns:v1.12.2" \
      -entrypoint /coredns "$1/coredns:/coredns" \
    && image "$1" echo-basic -tag "$(tags $registry/gateway-api/echo-basic v1.5.1 v1.6.0-dev.2 v1.6.0-dev.3)" \
      -user 65532:65532 -entrypoint /echo-basic "$1/echo-basic:/echo-basic" \
    && echo_certificate "$1" \
    && image "$1" echo-advanced -tag "$registry/gateway-api/echo-advanced:v1.5.1" -user 1338:1338 \
      -entrypoint /usr/local/bin/server "$1/echo:/usr/local/bin/server" "$1/echo:/usr/local/bin/client" \
      "$1/echo.crt:/cert.crt" "$1/echo.key:/cert.key"
}

# Nobody checks it: the tests' client takes any.
echo_certificate() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=echo -keyout "$1/echo.key" -out "$1/echo.crt" 2>/dev/null
}

image() { "$1/mkimage" "${@:3}" >"$1/images/$2.tar"; }
# tags NAME TAG..: the newest echo-basic does all that the older ones do.
tags() { printf "$1:%s," "${@:2}" | sed 's/,$//'; }
