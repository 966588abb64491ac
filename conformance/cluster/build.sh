# Compiles what a cluster is made of, once for each version; sourced by `cluster`.

build() {
  mkdir -p "$built"
  exec 8>"$built/lock"
  flock -n 8 || { echo "cluster: waiting for another build"; flock 8; }
  need ip iproute2 && need nft nftables && need iptables iptables && need openssl openssl
  once "$runtime" build_runtime
  once "$kube" build_kube
  once "$suite" build_suite
  # What no clone has used for two weeks.
  find "$built" -mindepth 1 -maxdepth 1 -type d -mtime +14 -exec rm -r {} +
  exec 8>&-
}

# Compiles Kubernetes alone and prints where its programs are, for tests that need no nodes.
programs() {
  mkdir -p "$built"
  exec 8>"$built/lock"
  flock -n 8 || { echo "cluster: waiting for another build" >&2; flock 8; }
  once "$kube" build_kube >&2
  exec 8>&-
  echo "$kube"
}

# once DIRECTORY COMMAND: has COMMAND fill a directory that stands at DIRECTORY only when it is complete.
once() {
  if [ -d "$1" ]; then touch "$1"; return; fi
  local began=$SECONDS
  echo "cluster: building ${1##*/}"
  rm -rf "$built"/*.part && mkdir "$1.part"
  "$2" "$1.part" || die "${1##*/} could not be built"
  mv "$1.part" "$1"
  echo "cluster: built ${1##*/} in $((SECONDS - began)) s"
}

# need PROGRAM PACKAGE: installs a Debian package if the program is not there. Nothing is started by it.
need() {
  command -v "$1" >/dev/null && return
  command -v apt-get >/dev/null || die "$1 is needed: install it (on Debian the package $2)"
  echo "cluster: installing $2 for $1"
  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends "$2" \
    || die "$1 is needed and $2 could not be installed"
}

# containerd, runc and the CNI plugins come out of Debian's packages, which are not installed: nothing is started, and a
# container runtime that the machine may have stays as it is.
build_runtime() {
  mkdir "$1"/{bin,cni,deb}
  (cd "$1/deb" && download_packages containerd runc containernetworking-plugins) || return
  local deb
  for deb in "$1"/deb/*.deb; do dpkg -x "$deb" "$1/deb/root" || return; done
  mv "$1"/deb/root/usr/bin/{containerd,containerd-shim-runc-v2,ctr} "$1/deb/root/usr/sbin/runc" "$1/bin/" \
    && mv "$1"/deb/root/usr/lib/cni/{loopback,ptp,host-local,portmap} "$1/cni/" && rm -r "$1/deb"
}

download_packages() {
  apt-get download -qq -o APT::Sandbox::User=root "$@" 2>/dev/null && return
  apt-get update -qq && apt-get download -qq -o APT::Sandbox::User=root "$@"
}

build_kube() {
  need go golang-go
  local package flags="-s -w" program
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=v$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$kubernetes")"
    flags+=" -X $package.gitTreeState=clean"
  done
  go_build "$cluster_home/src/kube" -ldflags "$flags" -o "$1/kube" . || return
  for program in etcd kube-{apiserver,controller-manager,scheduler,proxy} kubelet kubeadm kubectl lb; do
    ln -s kube "$1/$program"
  done
}

# The conformance suite, helm, and the images that the suite's pods want.
build_suite() {
  need go golang-go && need gcc gcc
  local from="$cluster_home/src/suite"
  go_build "$from" -ldflags "-s -w" -o "$1/" ./coredns ./echo ./mkimage sigs.k8s.io/gateway-api/conformance/echo-basic \
    && go_build "$from" -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=v$helm" -o "$1/" helm.sh/helm/v4/cmd/helm \
    && (cd "$from" && CGO_ENABLED=0 nice -n 5 go test -c -trimpath -ldflags "-s -w" -o "$1/conformance.test" .) \
    && gcc -Os -static "-DVERSION=$pause" -o "$1/pause" "$(kubernetes_module)/build/pause/linux/pause.c" \
    && build_images "$1"
}

go_build() { (cd "$1" && CGO_ENABLED=0 nice -n 5 go build -trimpath "${@:2}"); }
kubernetes_module() { (cd "$cluster_home/src/kube" && go list -m -f '{{.Dir}}' k8s.io/kubernetes); }
