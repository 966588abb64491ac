# How the checks of this directory ask, sourced by them: `expect`, `eventually`, and the counts `asked` and `failed`.

asked=0 failed=0

# expect WHAT WANTED CMD..: CMD prints something that has WANTED (a regular expression) in it.
expect() {
  local what="$1" wanted="$2" seen; shift 2
  asked=$((asked + 1))
  seen="$("$@" 2>&1 | tr -d '\0')" || true
  if grep -qE -- "$wanted" <<<"$seen"; then echo "ok      $what"; else
    echo "FAILED  $what: wanted /$wanted/, seen:"; sed 's/^/          /' <<<"$seen" | tail -n 12
    failed=$((failed + 1))
  fi
}

# eventually SECONDS CMD..
eventually() {
  local end=$((SECONDS + $1)); shift
  until "$@"; do ((SECONDS < end)) || return 1; sleep 0.1; done
}
