# Completion of flexgw for bash, written by `flexgw completion bash`.
# In this shell: eval "$(flexgw completion bash)". For good: put it in ~/.local/share/bash-completion/completions/flexgw.

# What stands behind a command: its commands and flags, and what its arguments are.
_flexgw_at() {
  commands='' flags='' values='' files=''
  case $1 in
@commands@
  esac
}

# The values of a flag: "COMMAND FLAG". Fails where the flag has none, or is none.
_flexgw_value() {
  local arguments=$values argument_files=$files
  values='' files='' pairs=''
  case $1 in
@flags@
  *)
    values=$arguments files=$argument_files
    return 1
    ;;
  esac
}

# Offers what begins with $2: values, and files where they are wanted. $1 stands before it in the same word.
_flexgw_offer() {
  local prefix=$1 part=$2 whole breaks='' strip='' one
  if [[ $pairs && $part == *=* ]]; then # FORMAT=FILE
    prefix=$prefix${part%%=*}= part=${part#*=} values='' files=file
  fi
  # readline replaces what stands behind the last of its own word breaks.
  whole=$prefix$part
  [[ $COMP_WORDBREAKS == *=* ]] && breaks='='
  [[ $COMP_WORDBREAKS == *:* ]] && breaks=$breaks:
  if [[ $breaks && $whole == *[$breaks]* ]]; then
    strip=${whole%"${whole##*[$breaks]}"}
  fi
  for one in $values; do
    if [[ $prefix$one == "$whole"* ]]; then
      one=$prefix$one
      COMPREPLY+=("${one#"$strip"}")
    fi
  done
  if [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *= ]]; then
    compopt -o nospace 2>/dev/null
  fi
  [[ $files ]] || return
  compopt -o filenames -o default 2>/dev/null # default: where nothing was found, as ~ is not
  while IFS= read -r one; do
    one=$prefix$one
    COMPREPLY+=("${one#"$strip"}")
  done < <(if [[ $files == dir ]]; then compgen -d -- "$part"; else compgen -f -- "$part"; fi)
}

_flexgw() {
  local commands flags values files pairs='' at='' before='' cur='' glue='' word i n=0
  local -a words
  words=()
  COMPREPLY=()
  # bash has cut the line at = and : too.
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $n -gt 0 && $word && ($glue || $word == [=:]*) ]]; then
      words[n - 1]=${words[n - 1]}$word
    else
      words[n]=$word
      ((n += 1))
    fi
    glue=''
    if [[ $word == = || $word == : ]]; then glue=1; fi
  done
  if ((n > 0)); then cur=${words[n - 1]}; fi
  i=0
  _flexgw_at ''
  while ((i < n - 1)) && [[ " $commands " == *" ${words[i]} "* ]]; do
    at=${at:+$at }${words[i]}
    _flexgw_at "$at"
    ((i += 1))
  done
  if ((n - 2 >= i)); then before=${words[n - 2]}; fi
  if [[ $before == -* && $before != *=* ]] && _flexgw_value "$at $before"; then
    _flexgw_offer '' "$cur"
  elif [[ $cur == -*=* ]] && _flexgw_value "$at ${cur%%=*}"; then
    _flexgw_offer "${cur%%=*}=" "${cur#*=}"
  elif [[ $cur == -?* || $cur == - && ! $files ]]; then
    values=$flags files=''
    _flexgw_offer '' "$cur"
  elif [[ $commands ]]; then
    values=''
    if ((i == n - 1)); then values=$commands; fi
    _flexgw_offer '' "$cur"
  else
    _flexgw_offer '' "$cur"
  fi
}

complete -F _flexgw flexgw
