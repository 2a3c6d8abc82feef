# Sourced by the training launchers: their options, dry runs and error messages.
#
# A launcher declares its options with their defaults; `false` makes a flag:
#     option=([nodes]="" [logs]=logs [dry_run]=false)
#     parse_options "$@"
# Then `option` holds the values and `train_options` what stood after `--`.
# The comment at the head of the launcher is its help.

declare -A option=()
train_options=()

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 2
}

print_help() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}

parse_options() {
    local name value
    while [ $# -gt 0 ]; do
        case $1 in
            -h | --help) print_help && exit 0 ;;
            --) train_options=("${@:2}") && return ;;
        esac
        name=${1#--}
        name=${name%%=*}
        # The pattern also keeps `@` and `*` out of the array's subscript.
        if ! [[ $1 == --* && $name =~ ^[a-z_]+$ && -n ${option[$name]+known} ]]; then
            die "unknown option $1; --help lists them, and those of lipsync train" \
                "stand after --"
        fi
        if [[ ${option[$name]} == false || ${option[$name]} == true ]]; then
            [ "$1" = "--$name" ] || die "--$name takes no value, found $1"
            value=true
        elif [[ $1 == *=* ]]; then
            value=${1#*=}
        elif [[ $# -gt 1 && $2 != --* ]]; then
            value=$2
            shift
        else
            die "--$name needs a value: $(describe "$name")"
        fi
        option[$name]=$value
        shift
    done
}

describe() { # OPTION: its line of the help
    print_help | sed -n "s/^ *\(--$1 .*\)/\1/p" | tr -s ' '
}

require() { # OPTION...
    local name
    for name; do
        [ -n "${option[$name]}" ] || die "missing $(describe "$name")"
    done
}

require_number() { # OPTION...
    local name
    require "$@"
    for name; do
        [[ ${option[$name]} =~ ^[1-9][0-9]*$ ]] ||
            die "--$name: expected a whole number above 0, found '${option[$name]}'"
    done
}

# Mistakes that would otherwise show only once the machines are there, and paid.
require_train_options() {
    local name given
    for name in config workdir; do
        [[ " ${train_options[*]}" == *" --$name"[\ =]* ]] ||
            die "missing --$name among the options of lipsync train, after --"
    done
    for given in "${train_options[@]}"; do
        case $given in
            --coordinator* | --num_processes* | --process_id* | --distributed*)
                die "$given is set by the launcher; leave it out"
                ;;
            gs://* | --*=gs://*)
                die "$given: training reads and writes folders, not buckets;" \
                    "mount the bucket and give the folder"
                ;;
        esac
    done
}

dry_run() {
    [ "${option[dry_run]}" = true ]
}

need() { # PROGRAM ADVICE
    dry_run || command -v "$1" >/dev/null || die "$1 is not on PATH; $2"
}

quote() { # WORD...: one line that bash reads as these words
    local word line=""
    for word; do
        [[ $word =~ ^[-A-Za-z0-9_./:=,@%+]+$ ]] || word=${word@Q}
        line+=" $word"
    done
    printf '%s\n' "${line# }"
}

run() { # COMMAND...
    if dry_run; then
        quote "$@"
    else
        "$@"
    fi
}
