#!/usr/bin/env bash
# The steps of action.yml, which says what each input means. usage: action.sh build | validate | diff
#
# It takes what a runner gives: GITHUB_OUTPUT, GITHUB_STEP_SUMMARY, RUNNER_TEMP, and the inputs as INPUT_… . Inputs are only ever read
# as variables, never as text of this script: whoever can write a pull request's title or branch cannot run a command here.
set -euo pipefail

output() { printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"; }

build() {
  if [ -n "${INPUT_FLEXGW:-}" ]; then
    output flexgw "$INPUT_FLEXGW"
    return
  fi
  (cd "$ACTION_PATH" && go build -o "$RUNNER_TEMP/flexgw" .)
  output flexgw "$RUNNER_TEMP/flexgw"
}

# lines reads the lines of an input into the array "list", without empty ones.
lines() {
  list=()
  local line
  while IFS= read -r line; do
    line="${line%$'\r'}"
    [ -z "${line//[[:space:]]/}" ] || list+=("$line")
  done <<<"$1"
}

# is_commit tells a commit to compare with from what a runner says when there is none: nothing, or zeros for a new branch.
is_commit() { [ -n "${1//0/}" ]; }

# shown prints a file in a folded part of the log, with the runner's commands switched off: a file's name or a line of it may look
# like one.
shown() {
  local token="flexgw-$RANDOM$RANDOM$RANDOM"
  echo "::group::$1"
  echo "::stop-commands::$token"
  cat "$2"
  echo "::$token::"
  echo "::endgroup::"
}

validate() {
  local list args=() sarif="${INPUT_SARIF:-}" code=0 text="$RUNNER_TEMP/flexgw.txt" json="$RUNNER_TEMP/flexgw.json"
  lines "${INPUT_ARGS:-}"
  args+=(${list[@]+"${list[@]}"})
  if [ "${INPUT_CHANGED_ONLY:-false}" = true ] && is_commit "${BASE:-}"; then
    args+=("--changed-since=$BASE")
  fi
  if [ "${INPUT_UPLOAD_SARIF:-false}" = true ] && [ -z "$sarif" ]; then
    sarif=flexgw.sarif
  fi
  if [ -n "$sarif" ]; then
    args+=("--output=sarif=$sarif")
  fi
  if [ "${INPUT_CACHE:-false}" = true ]; then
    args+=("--cache=$RUNNER_TEMP/flexgw-cache")
  fi
  lines "${INPUT_PATHS:-.}"
  rm -f "$text" "$json"
  "$FLEXGW" validate --output=github "--output=text=$text" "--output=json=$json" ${args[@]+"${args[@]}"} -- "${list[@]}" || code=$?
  if [ ! -s "$text" ]; then # called wrongly, or the world failed: it is said above
    if [ "${INPUT_CHANGED_ONLY:-false}" = true ]; then
      echo "::notice title=flexgw::changed-only compares with $BASE: check out with fetch-depth 0"
    fi
    exit "$code"
  fi
  shown "flexgw validate" "$text"
  output errors "$(counted errors "$json")"
  output warnings "$(counted warnings "$json")"
  [ -z "$sarif" ] || output sarif "$sarif"
  {
    echo "### flexgw validate"
    echo
    echo "$(counted errors "$json") errors, $(counted warnings "$json") warnings in $(counted documents "$json") documents"
    if [ "$code" -ne 0 ]; then
      echo
      # Indented text, not a fence: no line of a file can end it.
      head -c 60000 "$text" | sed 's/^/    /'
      echo
    fi
  } >>"$GITHUB_STEP_SUMMARY"
  exit "$code"
}

# diff tells reviewers what a pull request does, one part for each path. That it cannot be told fails nothing, unless it must be known.
diff() {
  local list path code failed=0 text="$RUNNER_TEMP/flexgw-diff.txt" markdown="$RUNNER_TEMP/flexgw-diff.md" args=()
  [ -z "${INPUT_DIFF_FAIL_ON:-}" ] || args+=("--fail-on=$INPUT_DIFF_FAIL_ON")
  lines "${INPUT_PATHS:-.}"
  for path in "${list[@]}"; do
    code=0
    rm -f "$text" "$markdown"
    "$FLEXGW" diff "--path=$path" "--output=text=$text" "--output=markdown=$markdown" ${args[@]+"${args[@]}"} -- "$BASE" || code=$?
    if [ "$code" -eq 3 ]; then
      echo "::notice title=flexgw::what the change does is not known: check out with fetch-depth 0"
    fi
    [ ! -s "$text" ] || shown "flexgw diff $path" "$text"
    [ ! -s "$markdown" ] || { head -c 500000 "$markdown" && echo; } >>"$GITHUB_STEP_SUMMARY"
    if [ "$code" -eq 2 ] || [ "$code" -ne 0 ] && [ -n "${INPUT_DIFF_FAIL_ON:-}" ]; then
      failed=$code
    fi
  done
  exit "$failed"
}

# counted is a number of the report's summary, which stands before everything else in it.
counted() { sed -n "s/^    \"$1\": \([0-9]*\),\{0,1\}$/\1/p" "$2" | head -n 1; }

case "${1:-}" in
build | validate | diff) "$1" ;;
*)
  echo "usage: action.sh build | validate | diff" >&2
  exit 2
  ;;
esac
