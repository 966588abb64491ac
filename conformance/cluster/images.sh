# The images of the cluster's own pods and of the conformance suite's, under the names that their manifests want; sourced
# by `cluster`. An exact name is never pulled, so that no registry is needed.

build_images() {
  local registry=registry.k8s.io
  mkdir "$1/images"
  image "$1" pause -tag "$registry/pause:$pause" -user 65535:65535 -entrypoint /pause "$1/pause:/pause" \
    && image "$1" coredns -tag "$registry/coredns/coredns:v1.14.2,$registry/coredns/coredns:v1.12.2" \
      -entrypoint /coredns "$1/coredns:/coredns" \
    && image "$1" echo-basic -tag "$(tags $registry/gateway-api/echo-basic v1.5.1 v1.6.0-dev.2 v1.6.0-dev.3)" \
      -user 65532:65532 -entrypoint /echo-basic "$1/echo-basic:/echo-basic"
}

image() { "$1/mkimage" "${@:3}" >"$1/images/$2.tar"; }
# tags NAME TAG..: the newest echo-basic does all that the older ones do.
tags() { printf "$1:%s," "${@:2}" | sed 's/,$//'; }
