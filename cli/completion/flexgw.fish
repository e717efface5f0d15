# Completion of flexgw for fish, written by `flexgw completion fish`.
# In this shell: flexgw completion fish | source. For good: put it in ~/.config/fish/completions/flexgw.fish.

function __flexgw_path --description 'the commands that the line begins with'
    set -l at
    for word in (commandline -opc)[2..-1]
        contains -- "$at$word" @paths@
        or break
        set at "$at$word "
    end
    string trim -- "$at"
end

function __flexgw_at --description 'whether these are the commands that the line begins with'
    set -l at (__flexgw_path)
    test "$at" = "$argv[1]"
end

function __flexgw_only --description 'whether the line has these commands, and nothing else'
    set -l line (commandline -opc)[2..-1]
    test "$line" = "$argv[1]"
end

function __flexgw_pairs --description 'FORMAT, or FORMAT=FILE'
    set -l token (commandline -ct | string replace -r -- '^(--[a-z-]+=|-[a-z])' '')
    set -l format (string match -r -- '^[a-z-]+=' "$token")
    if test -z "$format"
        printf '%s\n' $argv
        return
    end
    set -l part (string replace -- "$format" '' "$token")
    for file in $part*
        if test -d "$file"
            printf '%s%s/\n' "$format" "$file"
        else
            printf '%s%s\n' "$format" "$file"
        end
    end
end

complete -c flexgw -e
complete -c flexgw -f
@commands@
