# What the cluster is called, where it is kept and what its addresses are; sourced by the scripts beside it.
# WINDLASS_CLUSTER (default conformance) is its name: clusters of different names can be up at once.
# WINDLASS_CACHE (default ~/.cache/windlass) keeps what is built, and the directory of a cluster that is up.

die() { echo "cluster: $*" >&2; exit 1; }

cluster_home="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cluster="${WINDLASS_CLUSTER:-conformance}"
cache="${WINDLASS_CACHE:-$HOME/.cache/windlass}"
[[ $cluster =~ ^[a-z0-9]{1,20}$ ]] || die "WINDLASS_CLUSTER is '$cluster': wanted at most 20 small letters and digits"
# A node sees its own of these, and would not find the cluster's files.
case "$cache/" in
  /etc/* | /opt/* | /run/* | /sys/* | /var/*) die "WINDLASS_CACHE is $cache: wanted a directory outside of /etc /opt /run /sys /var" ;;
esac
export WINDLASS_CLUSTER="$cluster" WINDLASS_CACHE="$cache"

owned="windlass-$cluster"    # every network namespace and cgroup of this cluster has this name and what follows it
run_dir="$cache/run/$cluster" # all that `up` writes

# Each cluster has its network to itself, so that all may have the same addresses.
lan=172.30.0                 # .1 is the control plane and whoever tests, .11 the first node
pods=10.244                  # node N has $pods.N.0/24
services=10.96.0.0/16
dns=10.96.0.10
load_balancers=172.30.1.0/24 # addresses of Services of type LoadBalancer, by way of node 1

# Versions, but for those that the go.mod files hold.
windlass_version="$(sed -n 's/^version = "\(.*\)"/\1/p' "$cluster_home/../../Cargo.toml" | head -1)"
kubernetes=1.36.3            # the newest that takes Debian's containerd 1.6
pause=3.10.2
helm=4.2.4

# key FILE..: a name for what these files say; file names don't count, so that every clone has the same.
key() { cat "$@" | sha256sum | cut -c1-12; }
source_files() { find "$cluster_home/src/$1" -type f | LC_ALL=C sort; }

built="$cache/cluster"
runtime="$built/runtime-$(. /etc/os-release && echo "$ID${VERSION_ID:-}")"
kube="$built/kube-$kubernetes-$(key $(source_files kube))"
suite="$built/suite-$(key $(source_files suite) "$cluster_home/build.sh" "$cluster_home/images.sh")"
export PATH="$kube:$suite:$runtime/bin:$PATH:/usr/sbin:/sbin"
