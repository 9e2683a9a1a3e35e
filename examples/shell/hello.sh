# Answers with a greeting and what the instance sees of the machine.
greet() {
  name=$(printf '%s' "$1" | sed -n 's/.*"name" *: *"\([^"]*\)".*/\1/p')
  echo "greeting ${name:-world}" >&2
  printf '{"greeting":"hello, %s","user":%s,"processes":%s}' \
    "${name:-world}" "$(id -u)" "$(ls -d /proc/[0-9]* | wc -l)"
}
