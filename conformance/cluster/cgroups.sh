# The cgroup directories of a cluster: one in every hierarchy, and in it one for each node; sourced by `cluster`.

cgroup_dirs() { awk -v name="$owned" '$3 ~ /^cgroup2?$/ {print $2 "/" name}' /proc/mounts; }

# Whether a directory of ours can be made in each of them.
cgroups_able() {
  local dir
  for dir in $(cgroup_dirs); do
    [ -d "$dir" ] || { mkdir "$dir" && rmdir "$dir"; } || return
  done
}

cgroups_up() {
  local dir file
  for dir in $(cgroup_dirs); do
    mkdir -p "$dir/node$1"
    [ -e "$dir/cpuset.cpus" ] || continue
    # An empty set takes no process, so that the parent's is copied down.
    for file in cpuset.cpus cpuset.mems; do
      cat "$dir/../$file" >"$dir/$file"
      cat "$dir/$file" >"$dir/node$1/$file"
    done
  done
}

cgroups_down() {
  local dir
  for dir in $(cgroup_dirs); do
    [ ! -d "$dir" ] || wait_for 10 remove_tree "$dir"
  done
}
remove_tree() { find "$1" -depth -type d -exec rmdir {} + && [ ! -d "$1" ]; }
