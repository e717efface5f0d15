#compdef flexgw
# Completion of flexgw for zsh, written by `flexgw completion zsh`.
# In this shell, after compinit: source <(flexgw completion zsh). For good: put it in a folder of $fpath, as _flexgw.

# What stands behind a command: its commands and flags, and what its arguments are.
_flexgw_at() {
  subs=() flags=() values=() files=
  case $1 in
@commands@
  esac
}

# The values of a flag: "COMMAND FLAG". Fails where the flag has none, or is none.
_flexgw_value() {
  local -a arguments=($values)
  local argument_files=$files
  values=() files= pairs=
  case $1 in
@flags@
  *)
    values=($arguments) files=$argument_files
    return 1
    ;;
  esac
}

_flexgw_offer() {
  local none=1
  if [[ -n $pairs ]] && compset -P 1 '*='; then # FORMAT=FILE
    _files
    return
  fi
  if (( $#values )); then
    if [[ $values[1] == *= ]]; then
      compadd -S '' -a values && none=0
    else
      compadd -a values && none=0
    fi
  fi
  case $files in
  file) _files && none=0 ;;
  dir) _files -/ && none=0 ;;
  esac
  return none
}

_flexgw() {
  local at= before= files= pairs=
  local -a subs flags values
  local -i i=2
  _flexgw_at ''
  while (( i < CURRENT )) && (( $subs[(I)${(b)words[i]}:*] )); do
    at="${at:+$at }$words[i]"
    _flexgw_at "$at"
    (( i += 1 ))
  done
  if (( CURRENT - 1 >= i )); then before=$words[CURRENT-1]; fi
  if [[ $before == -* && $before != *=* ]] && _flexgw_value "$at $before"; then
    _flexgw_offer
  elif [[ $PREFIX == -*=* ]] && _flexgw_value "$at ${PREFIX%%=*}"; then
    compset -P 1 '*='
    _flexgw_offer
  elif [[ $PREFIX == -?* ]] || [[ $PREFIX == - && -z $files ]]; then
    _describe -o flag flags
  elif (( $#subs )); then
    (( i == CURRENT )) && _describe command subs
  else
    _flexgw_offer
  fi
}

if [[ $funcstack[1] == _flexgw ]]; then # autoloaded
  _flexgw "$@"
else
  compdef _flexgw flexgw
fi
