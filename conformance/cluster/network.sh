# The network of a cluster: a namespace with a bridge, where the control plane and whoever tests are, and one for each
# node, all on that bridge. None has a way out. Sourced by `cluster`.

network_up() {
  local nodes=$1 ns="$owned-lan" i j
  ip netns add "$ns"
  ip -n "$ns" link set lo up
  ip -n "$ns" link add lan type bridge
  ip -n "$ns" address add "$lan.1/24" dev lan
  ip -n "$ns" link set lan up
  for ((i = 1; i <= nodes; i++)); do node_network_up "$i"; done
  for ((i = 1; i <= nodes; i++)); do
    ip -n "$ns" route add "$pods.$i.0/24" via "$(node_address "$i")"
    for ((j = 1; j <= nodes; j++)); do
      ((i == j)) || ip -n "$owned-node$j" route add "$pods.$i.0/24" via "$(node_address "$i")"
    done
  done
  ((nodes == 0)) || ip -n "$ns" route add "$load_balancers" via "$(node_address 1)"
}

node_network_up() {
  local ns="$owned-node$1"
  ip netns add "$ns"
  ip -n "$owned-lan" link add "node$1" type veth peer name eth0 netns "$ns"
  ip -n "$owned-lan" link set "node$1" master lan up
  ip -n "$ns" link set lo up
  ip -n "$ns" address add "$(node_address "$1")/24" dev eth0
  ip -n "$ns" link set eth0 up
  ip -n "$ns" route add default via "$lan.1"
}

node_address() { echo "$lan.$((10 + $1))"; }

network_names() { ip netns list 2>/dev/null | awk -v prefix="$owned-" 'index($1, prefix) == 1 {print $1}'; }

# Whatever still runs in these namespaces is the cluster's or was run beside it, and goes first.
network_down() {
  local ns
  for ns in $(network_names); do
    ip netns pids "$ns" | xargs -r kill -9 2>/dev/null
    ip netns del "$ns"
  done
}
