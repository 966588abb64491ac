# The first processes of a cluster, each in a PID namespace of its own: when it ends, so does all that it started, and
# the mounts of its mount namespace go with it. Sourced by `cluster`.

# start NAME UNSHARE-FLAGS.. -- COMMAND..: in the network namespace NAME, if the cluster has one.
start() {
  local name=$1 flags=() net=() ; shift
  while [ "$1" != -- ]; do flags+=("$1"); shift; done
  shift
  mkdir -p "$run_dir/$name"
  [ ! -e "/run/netns/$owned-$name" ] || net=(nsenter "--net=/run/netns/$owned-$name")
  # 9 is the lock of `up` and `down`, which must not outlive them.
  setsid "${net[@]}" unshare --pid --fork --kill-child --mount-proc --uts --mount --propagation private "${flags[@]}" -- "$@" "$run_dir" \
    </dev/null >"$run_dir/$name/first.log" 2>&1 9>&- &
  echo $! >"$run_dir/$name/pid"
  disown
}

# running NAME: whether the first process NAME is there. Its arguments name the cluster, so that a number which was given
# to another process since is not taken for it.
running() {
  local pid
  pid="$(cat "$run_dir/$1/pid" 2>/dev/null)" && [ -e "/proc/$pid/cmdline" ] \
    && grep -qzxF "$run_dir" "/proc/$pid/cmdline" 2>/dev/null
}

stop() {
  running "$1" || return 0
  local pid; pid="$(cat "$run_dir/$1/pid")"
  kill -9 "$pid"
  wait_for 10 gone "$pid"
}
gone() { ! kill -0 "$1" 2>/dev/null; }

names() { local file; for file in "$run_dir"/*/pid; do [ ! -e "$file" ] || basename "$(dirname "$file")"; done; }

# The first process as the machine sees it, inside of its namespaces.
inside() { pgrep -P "$(cat "$run_dir/$1/pid")"; }

# wait_for SECONDS COMMAND..: until it succeeds.
wait_for() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || die "gave up waiting for: $*; the logs are in $run_dir"
    sleep 0.2
  done
}
